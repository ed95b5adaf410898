import t from 'tap'
import { type Plot, svgOf } from '../../../scripts/reproduce/plot.ts'
import { type Axis, positionOn, ticksOf } from '../../../scripts/reproduce/plot-axis.ts'

const LINEAR: Axis = { label: 'load', scale: 'linear', least: 0.2, most: 1 }
const LOG: Axis = { label: 'seconds', scale: 'log', least: 1, most: 1_000 }

function plotOf(changes: Partial<Plot> = {}): Plot {
  const line = (name: string, y: number) => ({
    name,
    points: [
      { x: 0.3, y, halfWidth: 0.5 },
      { x: 0.9, y: y + 1 }
    ]
  })
  const panel = { title: 'clique of 8', x: LINEAR, y: { ...LINEAR, label: 'mean', least: 0, most: 5 } }
  return {
    title: 'Response times & more',
    description: 'By load.',
    panels: [{ ...panel, lines: [line('kappa', 1), line('a < b', 7)] }],
    columns: 1,
    ...changes
  }
}

t.test('round numbers along linear and logarithmic axes', async (t) => {
  const texts = (axis: Axis) => ticksOf(axis).map(({ text }) => text)
  t.same(texts(LINEAR), ['0.2', '0.4', '0.6', '0.8', '1'])
  t.same(texts({ ...LINEAR, least: 0, most: 6 }), ['0', '1', '2', '3', '4', '5', '6'])
  t.same(texts(LOG), ['1', '10', '100', '1000'])
  t.same(texts({ ...LOG, least: 0.9, most: 10 }), ['1', '1.5', '2', '3', '5', '7', '10'])
  t.same(texts({ ...LOG, least: 0.9, most: 1.4 }), ['0.9', '1', '1.1', '1.2', '1.3', '1.4'])
  t.same(texts({ ...LOG, least: 0.01, most: 10 }), ['0.01', '0.1', '1', '10'])
  t.same(texts({ ...LINEAR, names: [{ at: 0.5, name: 'ring' }] }), ['ring'])
})

t.test('places along an axis', async (t) => {
  t.equal(positionOn(LINEAR, 0.6).toFixed(6), '0.500000')
  t.equal(positionOn(LOG, 10).toFixed(6), '0.333333')
})

t.test('says what it shows, and is well-formed', async (t) => {
  const svg = svgOf(plotOf())
  t.match(svg, /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" [^>]*role="img"/)
  t.match(svg, '<title id="title">Response times &amp; more</title>')
  t.match(svg, '<desc id="description">By load.</desc>')
  t.match(svg, 'a &lt; b')
  t.match(svg, '>load</text>')
  t.match(svg, '>mean</text>')
  t.notMatch(svg, /NaN|undefined|Infinity/)
  const open = [...svg.matchAll(/<([A-Za-z]+)(?:\s[^>]*[^/])?>/g)].map(([, name]) => name).sort()
  const closed = [...svg.matchAll(/<\/([A-Za-z]+)>/g)].map(([, name]) => name).sort()
  t.same(open, closed, 'every element is closed')
})

t.test('the same data make the same bytes, and a name looks the same in all panels', async (t) => {
  t.equal(svgOf(plotOf()), svgOf(plotOf()))
  const [panel] = plotOf().panels
  const [first, second] = panel!.lines
  const svg = svgOf(plotOf({ columns: 2, panels: [panel!, { ...panel!, lines: [second!, first!] }] }))
  const colours = [...svg.matchAll(/stroke="(#[0-9a-f]{6})" stroke-width/g)].map(([, colour]) => colour)
  t.same(colours.slice(2), [colours[0], colours[1], colours[1], colours[0]], 'behind those of the legend')
})

t.test('names that are given keep their looks where others are left out', async (t) => {
  const colours = (svg: string) =>
    [...svg.matchAll(/stroke="(#[0-9a-f]{6})" stroke-width/g)].map(([, colour]) => colour)
  const names = ['greedy', 'a < b', 'kappa']
  const [first, second] = colours(svgOf(plotOf({ names })))
  const [one] = plotOf().panels
  const alone = svgOf(plotOf({ names, panels: [{ ...one!, lines: one!.lines.slice(0, 1) }] }))
  t.not(first, second)
  t.same(colours(alone), [second, second], 'kappa is third, in the legend and in the panel')
  t.notMatch(alone, 'greedy')
})

t.test('what is beyond the axis has an arrow at its end', async (t) => {
  const [panel] = plotOf().panels
  const svg = svgOf(plotOf({ panels: [{ ...panel!, y: { ...panel!.y, least: 1.5 } }] }))
  t.equal([...svg.matchAll(/l4 8h-8z/g)].length, 2, 'two above')
  t.equal([...svg.matchAll(/l4 -8h-8z/g)].length, 1, 'one below')
})

/** The page of `kappa ui`: begins a session, then shows what the daemon tells each second. */

import type { FiguresResult, PauseResult, PeerFigures } from '../daemon/control-results.ts'
import { beginSession, get, lines, NoSessionError, post } from './api.ts'
import { byId, choice, element } from './elements.ts'
import { Graph } from './graph.ts'
import { Jobs } from './jobs.ts'
import { flowsOf, type Machine, machinesOf, type Snapshot } from './machines.ts'
import { Pairing } from './pairing.ts'
import { Plot, sparkline } from './plot.ts'

const KINDS = [
  ['metric', 'Metric'],
  ['busyCores', 'Busy cores'],
  ['slotsUsed', 'Lent cores']
] as const
type Kind = (typeof KINDS)[number][0]
const SPANS = [
  ['minutes', '5 min'],
  ['hours', '2 h']
] as const
type Span = (typeof SPANS)[number][0]
const PAUSES = [
  ['', 'until resumed'],
  ['1800000', '30 minutes'],
  ['3600000', '1 hour'],
  ['28800000', '8 hours'],
  ['86400000', '1 day']
] as const

/** How often what is longer ago is fetched anew, and values in a machine's small line. */
const FETCH_MS = 15_000
const SPARK_VALUES = 120
const AGAIN_MS = { first: 500, longest: 10_000 }
const NOTICE_MS = 8_000

class PageView {
  readonly #graph = new Graph(byId('graph'))
  readonly #plot = new Plot(byId('plot'))
  readonly #jobs = new Jobs((error) => this.#tell(error))
  readonly #pairing = new Pairing()
  #kind: Kind = 'metric'
  #span: Span = 'minutes'
  #last: Snapshot | undefined
  /** As fetched, with the values that came since. */
  #minutes: FiguresResult | undefined
  #hours: FiguresResult | undefined
  #fetchedAt = 0
  #noticeTimer: ReturnType<typeof setTimeout> | undefined

  async run(): Promise<void> {
    this.#prepare()
    try {
      await beginSession()
      for (let waitMs = AGAIN_MS.first; ; waitMs = Math.min(AGAIN_MS.longest, 2 * waitMs)) {
        if (await this.#watch()) waitMs = AGAIN_MS.first
        this.#link('The daemon does not answer. If it was started anew: kappa ui')
        await new Promise((resolve) => setTimeout(resolve, waitMs))
      }
    } catch (error) {
      if (!(error instanceof NoSessionError)) throw error
      this.#link('')
      document.body.classList.add('over')
      const said = element('p', {}, (error as Error).message)
      byId('notice').replaceChildren(said, element('p', {}, 'In a terminal: ', element('code', {}, 'kappa ui')))
      byId('notice').hidden = false
    }
  }

  /** Until the daemon tells no more; whether it told anything. Throws NoSessionError. */
  async #watch(): Promise<boolean> {
    let hasTold = false
    try {
      await this.#fetch()
      for await (const snapshot of lines('events')) {
        hasTold = true
        this.#link('')
        await this.#show(snapshot as Snapshot)
      }
    } catch (error) {
      if (error instanceof NoSessionError) throw error
    }
    return hasTold
  }

  async #fetch(): Promise<void> {
    const figures = (await get('figures', { span: this.#span })) as FiguresResult
    if (this.#span === 'minutes') this.#minutes = figures
    else this.#hours = figures
    this.#fetchedAt = performance.now()
  }

  async #show(snapshot: Snapshot): Promise<void> {
    this.#last = snapshot
    if (this.#minutes) this.#minutes = appended(this.#minutes, snapshot.figures)
    if (performance.now() - this.#fetchedAt > FETCH_MS) await this.#fetch()
    this.#draw()
  }

  #draw(): void {
    if (!this.#last) return
    const { status } = this.#last
    const machines = machinesOf(this.#last)
    document.title = `${status.name} · kappa`
    byId('name').textContent = status.name
    const lending = byId('lending')
    const lent = `${round(status.slots.used)} of ${round(status.slots.total)} cores lent`
    lending.textContent = status.refuses === null ? lent : `Not lending: ${status.refuses}`
    lending.classList.toggle('away', status.refuses !== null)
    byId('pause').textContent = status.paused ? 'Resume' : 'Pause'
    this.#graph.show(machines, flowsOf(this.#last))
    this.#drawMachines(machines)
    this.#drawPlot(machines)
    this.#jobs.show(this.#last)
  }

  #drawMachines(machines: readonly Machine[]): void {
    const figures = new Map(this.#minutes?.peers.map((peer) => [peer.peerId, peer]))
    const most = Math.max(1, ...[...figures.values()].flatMap(({ metric }) => metric.map((value) => value ?? 0)))
    byId('machines').replaceChildren(...machines.map((machine) => cardOf(machine, figures.get(machine.id), most)))
  }

  #drawPlot(machines: readonly Machine[]): void {
    const figures = this.#span === 'minutes' ? this.#minutes : this.#hours
    if (!figures) return
    const byId = new Map(figures.peers.map((peer) => [peer.peerId, peer]))
    const lines = machines.flatMap(({ id, name, colour }) => {
      const peer = byId.get(id)
      return peer ? [{ name, colour, values: peer[this.#kind] }] : []
    })
    this.#plot.show({ lines, everyMs: figures.everyMs, unit: '' })
  }

  #prepare(): void {
    choice(byId('kinds'), KINDS, this.#kind, (kind) => {
      this.#kind = kind
      this.#draw()
    })
    choice(byId('spans'), SPANS, this.#span, (span) => {
      this.#span = span
      this.#fetch().then(() => this.#draw(), this.#failed)
    })
    choice(
      byId('whose'),
      [
        ['mine', 'Of this machine'],
        ['guests', 'Of others here']
      ],
      'mine',
      (whose) => {
        this.#jobs.isGuests = whose === 'guests'
      }
    )
    byId('pair').addEventListener('click', () => this.#pairing.open())
    byId<HTMLSelectElement>('pause-for').append(...PAUSES.map(([value, text]) => element('option', { value }, text)))
    byId('pause').addEventListener('click', () => {
      if (this.#last?.status.paused) post('resume', {}).catch(this.#failed)
      else byId<HTMLDialogElement>('pausing').showModal()
    })
    const pausing = byId<HTMLDialogElement>('pausing')
    pausing.addEventListener('close', () => {
      if (pausing.returnValue === 'yes') this.#pause().catch(this.#failed)
      pausing.returnValue = ''
    })
  }

  async #pause(): Promise<void> {
    const forMs = Number(byId<HTMLSelectElement>('pause-for').value)
    const now = byId<HTMLInputElement>('pause-now').checked
    const { ended } = (await post('pause', { now, ...(forMs > 0 && { forMs }) })) as PauseResult
    if (ended > 0) this.#tell(`${ended} job(s) of other machines were ended.`)
  }

  #link(text: string): void {
    byId('link').hidden = text === ''
    byId('link').textContent = text
  }

  readonly #failed = (error: unknown): void => this.#tell(error)

  /** A line that goes away by itself. */
  #tell(what: unknown): void {
    const notice = byId('notice')
    notice.textContent = what instanceof Error ? what.message : String(what)
    notice.hidden = false
    clearTimeout(this.#noticeTimer)
    this.#noticeTimer = setTimeout(() => {
      notice.hidden = true
    }, NOTICE_MS)
  }
}

/** What came since goes behind what is there, for as many values as there were. */
function appended(figures: FiguresResult, { at, peers }: FiguresResult): FiguresResult {
  const steps = Math.round((at - figures.at) / figures.everyMs)
  if (steps <= 0) return figures
  const newest = new Map(peers.map((peer) => [peer.peerId, peer]))
  const known = new Set(figures.peers.map(({ peerId }) => peerId))
  const length = figures.peers[0]?.metric.length ?? 0
  const empty = (): (number | null)[] => new Array(length).fill(null)
  const added = peers.filter(({ peerId }) => !known.has(peerId))
  const blank = () => ({
    metric: empty(),
    busyCores: empty(),
    cores: empty(),
    homeCores: empty(),
    slotsUsed: empty(),
    slots: empty()
  })
  const all: PeerFigures[] = [...figures.peers, ...added.map((peer) => ({ ...peer, ...blank() }))]
  const next = (values: (number | null)[], value: number | null) =>
    [...values, ...new Array(Math.min(steps, length) - 1).fill(null), value].slice(-length)
  const moved = all.map((peer) => {
    const now = newest.get(peer.peerId)
    const last = (kind: keyof ReturnType<typeof blank>) => next(peer[kind], now?.[kind].at(-1) ?? null)
    return {
      ...peer,
      metric: last('metric'),
      busyCores: last('busyCores'),
      cores: last('cores'),
      homeCores: last('homeCores'),
      slotsUsed: last('slotsUsed'),
      slots: last('slots')
    }
  })
  return { ...figures, at, peers: moved }
}

function cardOf(machine: Machine, figures: PeerFigures | undefined, most: number): Node {
  const { name, kind, colour, metric, cores, busyCores, slots, slotsUsed, note, roundTripMs, isConnected } = machine
  const facts: [string, string][] = [['metric', metric === undefined ? '–' : metric.toFixed(0)]]
  if (cores !== undefined) facts.push(['busy', `${round(busyCores ?? 0)} / ${round(cores)}`])
  if (slots !== undefined) facts.push(['lent', `${round(slotsUsed ?? 0)} / ${round(slots)}`])
  if (roundTripMs !== undefined) facts.push(['round trip', `${roundTripMs.toFixed(1)} ms`])
  const kinds = { self: 'this machine', own: 'own', friend: 'friend', through: 'through others' }
  return element(
    'article',
    { class: `card machine ${isConnected ? '' : 'away'}` },
    element(
      'h3',
      {},
      element('span', { class: 'foreign' }, element('i', { class: `swatch ${colour}` }), name),
      element('small', {}, kinds[kind])
    ),
    sparkline((figures?.metric ?? []).slice(-SPARK_VALUES), colour, most),
    element(
      'dl',
      {},
      ...facts.map(([term, value]) => element('div', {}, element('dt', {}, term), element('dd', {}, value)))
    ),
    ...(note === '' ? [] : [element('p', { class: 'quiet foreign' }, note)])
  )
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10)
}

void new PageView().run()

import t from 'tap'
import { Browser, chromium, type Tab } from '../browser.ts'
import { needs } from '../require.ts'
import { type Ended, longJob, pair, sees, Talk, TestPeer, until } from './peers.ts'

/** What would run if it were ever taken for HTML. */
const MARKUP = '<img src=x onerror=document.title="ran">'

const program = chromium()
if (needs(t, program !== undefined, 'chromium')) {
  const [desktop, nas] = await Promise.all([TestPeer.start(t, { name: 'desktop' }), TestPeer.start(t, { name: 'nas' })])
  await pair(desktop, nas)
  await sees(desktop, nas)
  const browser = await Browser.start(t, program!)

  const open = async (width = 1280, height = 900, dark = false): Promise<Tab> => {
    const { url } = JSON.parse(await desktop.ok(['ui', '--json']))
    const tab = await browser.open(width, height, dark)
    await tab.goto(url)
    await tab.until(`document.querySelector('#name')?.textContent === 'desktop'`)
    return tab
  }
  const says = (tab: Tab, selector: string, text: string) =>
    tab.until(`document.querySelector('${selector}')?.textContent.includes(${JSON.stringify(text)})`)

  t.test('machines, jobs as they run, why they are there, and their end', async (t) => {
    const tab = await open()
    t.equal(await tab.eval('location.hash'), '', 'the token is not kept in the address')
    await says(tab, '#machines', 'nas')
    await tab.until(`document.querySelectorAll('#graph .machine').length === 2`)
    await tab.until(`document.querySelector('.plot .line')?.getAttribute('d')`)
    const { argv } = longJob()
    const ended = desktop.begun(nas, [...argv, MARKUP]).then((talk) => talk.ended)
    await says(tab, '#jobs', MARKUP)
    await says(tab, '#jobs .state', 'running')
    await tab.until(`document.querySelector('#graph .job')`)
    await tab.click('#jobs button')
    await says(tab, '.why', 'nas')
    await tab.click('#jobs button.danger')
    t.match(await ended, { code: null, signal: 'SIGTERM' } as Partial<Ended>)
    await says(tab, '#jobs .state', 'SIGTERM')
    t.equal(await tab.eval('document.title'), 'desktop · kappa')
    t.same(tab.complaints, [], 'its policy has nothing to complain of')
  })

  t.test('lending is paused and resumed', async (t) => {
    const tab = await open()
    await tab.click('#pause')
    await tab.eval(`document.querySelector('#pause-for').value = '3600000'`)
    await tab.click('#pausing button[value=yes]')
    await says(tab, '#lending', 'its owner paused lending until')
    t.ok((await desktop.status()).paused)
    await says(tab, '#pause', 'Resume')
    await tab.click('#pause')
    await says(tab, '#lending', 'cores lent')
    t.notOk((await desktop.status()).paused)
  })

  t.test('another machine is paired by numbers', async (t) => {
    const laptop = await TestPeer.start(t, { name: 'laptop' })
    const [address] = (await laptop.status()).addresses
    const waiting = new Talk(laptop.spawn(['pair']))
    await waiting.hears(/Waiting/)
    const tab = await open()
    await tab.click('#pair')
    await tab.type('#pairing input[name=target]', address!.replace(/^\/ip4\/(.*)\/tcp\/(\d+)$/, '$1:$2'))
    await tab.click('#pairing button[value=join]')
    const [, first, second] = await waiting.hears(/Type these digits on desktop: (\d{3}) (\d{3})/)
    await tab.type('#pairing input.digits', `${first} ${second}`)
    await tab.click('#pairing button[type=submit]')
    await says(tab, '#pairing', 'confirm it on laptop')
    await waiting.hears(/Does desktop say that the digits match/)
    waiting.say('y')
    await says(tab, '#pairing', 'Paired with laptop')
    await says(tab, '#machines', 'laptop')
    await laptop.ok(['unpair', 'desktop'])
  })

  t.test('a used address, and one of yesterday, lead nowhere; a reload goes on', async (t) => {
    const { url } = JSON.parse(await desktop.ok(['ui', '--json']))
    const first = await browser.open(1280, 900)
    await first.goto(url)
    await says(first, '#machines', 'nas')
    await first.send('Page.reload')
    await first.until(`document.readyState === 'complete'`)
    await says(first, '#machines', 'nas')
    const second = await browser.open(1280, 900)
    await second.goto(url)
    await says(second, '#notice', 'kappa ui')
    t.equal(await second.eval(`getComputedStyle(document.querySelector('main')).display`), 'none')
  })

  t.test('a phone sees all of it, too, in the dark', async (t) => {
    const tab = await open(390, 844, true)
    await says(tab, '#machines', 'nas')
    await tab.until(`document.querySelector('#jobs tr')`)
    t.equal(await tab.eval('document.documentElement.scrollWidth'), 390, 'nothing is cut off')
    t.match(await tab.eval('getComputedStyle(document.body).backgroundColor'), 'rgb(16, 19, 24)')
    t.ok((await tab.screenshot()).length > 20_000, 'there is something to see')
    t.same(tab.complaints, [])
    await until('its daemon is well', async () => (await desktop.status()).name === 'desktop')
  })
}

import { chmodSync, readFileSync, statSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fakeDaemon, kappa } from './fake-daemon.ts'

const TOKEN = 'token-of-this-test'
const URL = `http://127.0.0.1:4711/#${TOKEN}`

/** A daemon that serves the page, and a browser that writes down how it is started. */
async function setUp(t: Test) {
  const directory = await fakeDaemon(t, { ui: () => ({ url: URL, forMs: 300_000 }) })
  const browser = join(directory, 'xdg-open')
  writeFileSync(
    browser,
    `#!/bin/sh\nprintf '%s\\n' "$@" >'${directory}/opened.new'\nmv '${directory}/opened.new' '${directory}/opened'\n`
  )
  chmodSync(browser, 0o755)
  return { directory, environment: { DISPLAY: ':0', PATH: `${directory}:${process.env.PATH}` } }
}

t.test('the browser is led there by a file of the user alone: arguments are seen by all', async (t) => {
  const { directory, environment } = await setUp(t)
  const opened = new Promise<string>((resolve) => {
    const watcher = watch(directory, (_, name) => {
      if (name !== 'opened') return
      watcher.close()
      resolve(readFileSync(join(directory, 'opened'), 'utf8'))
    })
  })
  t.match(await kappa(directory, ['ui'], '', environment), {
    code: 0,
    stdout: `The browser opens the page. If it does not:\n${URL}\n`
  })
  const words = await opened
  t.notMatch(words, TOKEN)
  const path = words.trim()
  t.match(readFileSync(path, 'utf8'), `url=${URL}"`)
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal(statSync(join(path, '..')).mode & 0o777, 0o700)
})

t.test('without a display, or if asked so, the address is printed alone', async (t) => {
  const { directory, environment } = await setUp(t)
  const printed = { code: 0, stdout: `Open this within 5 min:\n${URL}\n`, stderr: '' }
  t.match(await kappa(directory, ['ui', '--no-open'], '', environment), printed)
  t.match(await kappa(directory, ['ui'], '', { DISPLAY: '', WAYLAND_DISPLAY: '' }), printed)
  t.match(await kappa(directory, ['ui', '--json'], '', environment), { code: 0, stdout: `{"url":"${URL}"}\n` })
})

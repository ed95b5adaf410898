import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { gather, KAPPA, pair, TestPeer } from './peers.ts'

const [laptop, desktop] = await Promise.all([
  TestPeer.start(t, { name: 'laptop' }),
  TestPeer.start(t, { name: 'desktop' })
])
await pair(desktop, laptop)

/** Runs a shell that runs kappa: bytes that aren't UTF-8 don't go through Node. */
async function shell(script: string) {
  const child = spawn('sh', ['-c', script, 'sh', KAPPA], {
    env: laptop.environment,
    cwd: laptop.work,
    stdio: 'pipe'
  })
  child.stdin!.end()
  return gather(child)
}

const hex = (text: string) => text.replaceAll(/\s+/g, ' ').trim()

for (const where of ['--local', '--on desktop']) {
  t.test(`bytes that are no text, with ${where}`, async (t) => {
    const show = `'for word; do printf %s "$word" | od -An -v -tx1; done; printf %s "$ODD" | od -An -v -tx1; env | wc -l >/dev/null'`
    const words = `"$(printf '\\377\\200')" '' "$(printf 'a\\nb')" "$(printf '\\033[31m')" '"$(x)'`
    const odd = `ODD="$(printf '\\376=\\001')"; export ODD;`
    const { code, stdout, stderr } = await shell(`${odd} exec "$1" run ${where} sh -c ${show} sh ${words}`)
    t.match({ code, stderr }, { code: 0, stderr: '' })
    t.equal(hex(stdout), 'ff 80 61 0a 62 1b 5b 33 31 6d 22 24 28 78 29 fe 3d 01')
  })

  t.test(`200 kB of arguments, with ${where}`, async (t) => {
    const script = `long=$(head -c 100000 /dev/zero | tr '\\0' x); exec "$1" run ${where} sh -c 'echo "$#" "\${#1}" "\${#2}"' sh "$long" "$long"`
    t.match(await shell(script), { code: 0, stdout: '2 100000 100000\n', stderr: '' })
    const many = `exec "$1" run ${where} sh -c 'echo "$#"' sh $(seq 1 40000)`
    t.match(await shell(many), { code: 0, stdout: '40000\n', stderr: '' })
  })
}

t.test('odd names are shown without their control characters', async (t) => {
  await laptop.kappa(['run', '--plain', 'echo', '\x1b[31mred\x07'])
  const table = await laptop.kappa(['ps'])
  t.match(table.stdout, /echo '\\u\{1b\}\[31mred\\u\{7\}'/)
  t.notMatch(table.stdout, '\x1b')
})

t.test('--in that is missing, unreadable or no file, --out that is not produced', async (t) => {
  mkdirSync(join(laptop.work, 'in'), { recursive: true })
  writeFileSync(join(laptop.work, 'in/secret'), 'x')
  chmodSync(join(laptop.work, 'in/secret'), 0)
  const socket = createServer().listen(join(laptop.work, 'socket'))
  t.teardown(() => socket.close())
  // Root reads everything unless it gives that up.
  const drop = process.getuid!() === 0 ? 'setpriv --bounding-set=-dac_override,-dac_read_search ' : ''
  for (const [options, words] of [
    ['--in missing', /missing/],
    ['--in in/secret', /in\/secret/],
    ['--in in', /in\/secret/],
    ['--in socket', /socket/],
    ['--in /etc/passwd', /\/etc\/passwd/],
    ['--in ..', /\.\./],
    ['--out ../x', /\.\.\/x/],
    ["--out ''", /--out/]
  ] as const) {
    const run = await shell(`exec ${drop}"$1" run --on desktop ${options} true`)
    t.equal(run.code, 125, options)
    t.match(run.stderr, words)
    t.match(run.stderr, /^kappa: [^\n]+\n$/, 'one line')
    t.notMatch(run.stderr, /a bug/)
  }
  const never = await laptop.there(desktop, ['true'], { options: ['--out', 'never'] })
  t.match(never, { code: 1, stderr: /^kappa: [^\n]*never[^\n]*\n$/ })
  const half = await laptop.there(desktop, ['sh', '-c', 'echo x >made'], {
    options: ['--out', 'made', '--out', 'never']
  })
  t.match(half, { code: 1, stderr: /^kappa: [^\n]*never[^\n]*\n$/ })
  t.match(await shell('ls -a'), { stdout: '.\n..\nin\nsocket\n' }, 'nothing is left here')
})

t.test('commands that cannot be run', async (t) => {
  for (const [words, code] of [
    [['no-such-program'], 127],
    [['/etc/passwd'], 126],
    [['/etc'], 126],
    [['/no/such'], 127],
    [[''], 127]
  ] as const) {
    const there = await laptop.there(desktop, [...words])
    t.match(there, { code, stderr: /^kappa: [^\n]+ \(on desktop\)\n$/ }, JSON.stringify(words))
    const here = await laptop.kappa(['run', '--local', ...words])
    t.match(here, { code, stderr: /^kappa: [^\n]+\n$/ }, `${JSON.stringify(words)} here`)
  }
})

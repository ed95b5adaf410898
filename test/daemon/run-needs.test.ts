import t from 'tap'
import { checked, PARAMS } from '../../src/daemon/control-requests.ts'

const RUN = {
  argv: ['true'],
  env: [],
  cwd: '/',
  umask: 0o22,
  nice: 0,
  limits: [],
  options: {},
  ins: false,
  outs: [],
  outAlways: false,
  terminal: false,
  pid: 1
}

t.test('needs that neighbours would turn away, with the whole stream, are turned away here', async (t) => {
  const ask = (options: object) => checked(PARAMS.run, { ...RUN, options }, 'request')
  const many = (count: number) => Array.from({ length: count }, (_, index) => `tool${index}`)
  t.match(ask({ tools: many(16), needs: ['x'.repeat(64)], memoryBytes: Number.MAX_SAFE_INTEGER }), RUN)
  for (const [options, words] of [
    [{ tools: many(17) }, /options\.tools: at most 16/],
    [{ needs: many(17) }, /options\.needs: at most 16/],
    [{ tools: ['x'.repeat(65)] }, /options\.tools\.0: at most 64 characters/],
    [{ needs: [''] }, /options\.needs\.0/],
    [{ memoryBytes: 2 ** 54 }, /options\.memoryBytes/]
  ] as const) {
    t.throws(() => ask(options), { name: 'ProtocolError', message: words })
  }
})

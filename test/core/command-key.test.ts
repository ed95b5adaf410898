import fc from 'fast-check'
import t from 'tap'
import { commandKey, KEY_LENGTH_MAX, keyOfInput, keysOfLargerInputs } from '../../src/core/command-key.ts'

t.test('a program and the shape of its first arguments', async (t) => {
  const keys: [string, string][] = [
    ['make', 'make'],
    ['cc -c main.c -o main.o', 'cc -c -o'],
    ['cc -o main.o -c other.c', 'cc -c -o'],
    ['/usr/bin/gcc -O2 -Wall -I/home/me/secret -DKEY=secret -E x.c', 'gcc -E'],
    ['ffmpeg -i holiday.mkv -c:v libx264 out.mp4', 'ffmpeg -i'],
    ['git -C secret commit -m wip', 'git -C -m'],
    ['git commit -m wip', 'git commit'],
    ['cargo build --release', 'cargo build'],
    ['nice -n 5 env A=b timeout 10 xz -9 --threads=4 big', 'xz --threads'],
    ['python3 -m pytest -x tests/unit', 'python3 -m pytest'],
    ['./render --scene=living-room --quality 3', 'render --quality --scene'],
    ['tool -a -b -c -d -e -f', 'tool -a -b -c -d'],
    ['tool -- -a', 'tool'],
    ['mysql -psecret --password=secret', 'mysql --password']
  ]
  for (const [line, key] of keys) t.equal(commandKey(line.split(' ')), key, line)
})

t.test('what an interpreter runs is in its arguments: nothing is learnt', async (t) => {
  for (const line of ['sh -c "a; b"', 'bash x.sh', 'python3 train.py', 'node -e 1', 'perl -e 1', 'awk 1', 'xargs cc']) {
    t.equal(commandKey(line.split(' ')), undefined, line)
  }
  t.equal(commandKey([]), undefined)
  t.equal(commandKey(['']), undefined)
  t.equal(commandKey(['sh', '-c', 'flac a.wav']), 'flac', 'a shell around one simple command')
})

t.test('neither paths nor values ever get into a key, and it is bounded', async () => {
  const secret = fc.stringMatching(/^[A-Z0-9/=.~]{6,40}$/)
  const word = fc.oneof(
    secret,
    secret.map((text) => `-${text}`),
    secret.map((text) => `--option=${text}`),
    secret.map((text) => `/home/${text}`)
  )
  fc.assert(
    fc.property(fc.constantFrom('cc', 'git', 'python3', 'tool'), fc.array(word), (program, args) => {
      const key = commandKey([program, ...args]) ?? ''
      return (
        key.length <= KEY_LENGTH_MAX &&
        /^(?:[\w.+-]+(?: --?[a-zA-Z][a-z-]*)*)?$/.test(key) &&
        !/[A-Z0-9/=.~]{6}/.test(key)
      )
    })
  )
  fc.assert(fc.property(fc.array(fc.string()), (argv) => (commandKey(argv) ?? '').length <= KEY_LENGTH_MAX))
})

t.test('the size of the input is part of the key, in steps of four, and larger ones are found by it', async (t) => {
  t.equal(keyOfInput('cc -c', 0), 'cc -c', 'none is known')
  t.equal(keyOfInput('cc -c', Number.NaN), 'cc -c')
  t.equal(keyOfInput('cc -c', 1), 'cc -c <1')
  t.equal(keyOfInput('cc -c', 1_024), 'cc -c <5')
  t.equal(keyOfInput('cc -c', 1_025), 'cc -c <6')
  t.equal(keyOfInput('cc -c', 1e30), 'cc -c <24', 'the largest')
  t.same(keysOfLargerInputs('cc -c <22'), ['cc -c <23', 'cc -c <24'])
  t.same(keysOfLargerInputs('cc -c'), [])
  fc.assert(
    fc.property(fc.string({ maxLength: 128 }), fc.double(), (key, bytes) => {
      const sized = keyOfInput(key, bytes)
      return sized.length <= KEY_LENGTH_MAX && keysOfLargerInputs(sized).length < 24
    })
  )
})

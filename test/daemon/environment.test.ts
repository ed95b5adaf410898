import t from 'tap'
import { travellingEnvironment } from '../../src/daemon/environment.ts'

const names = (entries: string[]) => entries.map((entry) => entry.slice(0, entry.indexOf('=', 1)))

t.test('what belongs to a machine, or names files of home, stays', async (t) => {
  const stays = [
    ...['DISPLAY', 'XDG_RUNTIME_DIR', 'DBUS_SESSION_BUS_ADDRESS', 'SSH_AUTH_SOCK', 'TMUX', 'TMUX_PANE', '_', 'PWD'],
    ...['HOME', 'PATH', 'TMPDIR', 'LD_PRELOAD', 'PYTHONPATH', 'NODE_OPTIONS', 'npm_config_x', 'BASH_FUNC_x%%', 'IFS'],
    ...['KAPPA_ON', 'KAPPA_JOB']
  ]
  const goes = ['LANG', 'LC_ALL', 'TERM', 'EDITOR', 'DISPLAYED', 'MY_PATH', 'http_proxy', 'x']
  for (const kind of ['own', 'friend'] as const) {
    const { entries, withheld } = travellingEnvironment(
      [...stays, ...goes].map((name) => `${name}=1`),
      kind
    )
    t.same(names(entries), goes)
    t.same(withheld, [])
  }
})

t.test('what looks like a secret goes to machines of the same person only', async (t) => {
  const secrets = ['GITHUB_TOKEN', 'my_secret_x', 'PASSWORD', 'AWS_PROFILE', 'api_key', 'GOOGLE_CREDENTIALS']
  const environment = [...secrets, 'KEYBOARD', 'TOKYO'].map((name) => `${name}=1`)
  t.same(names(travellingEnvironment(environment, 'own').entries), [...secrets, 'KEYBOARD', 'TOKYO'])
  const friend = travellingEnvironment(environment, 'friend')
  t.same(names(friend.entries), ['KEYBOARD', 'TOKYO'])
  t.same(friend.withheld, secrets)
})

t.test('--env brings back what it names, and sets what it gives', async (t) => {
  const { entries, withheld } = travellingEnvironment(['API_TOKEN=a', 'OTHER_TOKEN=b', 'HOME=/h', 'X=1'], 'friend', [
    'API_TOKEN',
    'HOME',
    'X=2',
    'NEW=a=b',
    'NOT_THERE',
    'EMPTY='
  ])
  t.same(entries, ['X=2', 'API_TOKEN=a', 'HOME=/h', 'NEW=a=b', 'EMPTY='])
  t.same(withheld, ['OTHER_TOKEN'])
})

t.test('--no-env passes only what --env names', async (t) => {
  t.same(travellingEnvironment(['A=1', 'B=2', 'C_TOKEN=3'], 'own', ['B', 'D=4'], true), {
    entries: ['B=2', 'D=4'],
    withheld: []
  })
})

t.test('odd entries', async (t) => {
  const odd = ['A=', 'B=x\ny=z', 'C=\xff\xfe', 'D D=1', '=E=1', 'lonely', '', 'SECRET\nX=1', 'F==']
  const { entries } = travellingEnvironment(odd, 'friend')
  t.same(entries, ['A=', 'B=x\ny=z', 'C=\xff\xfe', 'D D=1', '=E=1', 'F=='])
})

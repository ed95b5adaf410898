/** What the page asks its daemon, with the key that it alone has. */

const KEY = 'kappa-key'

/** The daemon knows this page no more: `kappa ui` opens another. */
export class NoSessionError extends Error {}

let key: string | null = null

/** Takes the token out of the address, where it would stay in the history. Throws NoSessionError. */
export async function beginSession(): Promise<void> {
  const token = location.hash.slice(1)
  history.replaceState(null, '', location.pathname)
  if (token === '') key = sessionStorage.getItem(KEY)
  else {
    key = ((await post('session', { token })) as { key: string }).key
    sessionStorage.setItem(KEY, key)
  }
  if (key === null) throw new NoSessionError('This page is opened by kappa ui.')
}

export async function get(command: string, params: Record<string, string> = {}): Promise<unknown> {
  return (await answered(`${command}?${new URLSearchParams(params)}`, {})).json()
}

export async function post(command: string, body: object): Promise<unknown> {
  return (await answered(command, written(body))).json()
}

/** Each line of JSON as it comes, until the answer ends. `body`: what is posted. */
export async function* lines(command: string, body?: object, signal?: AbortSignal): AsyncGenerator<unknown> {
  const init = { ...(body && written(body)), ...(signal && { signal }) }
  const { body: bytes } = await answered(command, init)
  let rest = ''
  const decoder = new TextDecoder()
  const reader = bytes!.getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    rest += decoder.decode(next.value, { stream: true })
    const whole = rest.split('\n')
    rest = whole.pop()!
    for (const line of whole) yield JSON.parse(line)
  }
}

function written(body: object): RequestInit {
  return { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }
}

async function answered(path: string, init: RequestInit): Promise<Response> {
  const headers = { ...init.headers, ...(key !== null && { Authorization: `Bearer ${key}` }) }
  const response = await fetch(`/api/${path}`, { ...init, headers, cache: 'no-store' })
  if (response.ok) return response
  const text = await response.text()
  if (response.status === 401 || response.status === 403) throw new NoSessionError(text.trim())
  if (response.status !== 400) throw new Error(text.trim())
  throw new Error((JSON.parse(text) as { error: { message: string } }).error.message)
}

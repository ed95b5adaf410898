/** Makes what the page shows. Text of others is only ever text. */

type Attributes = Record<string, string | number | boolean | undefined | ((event: Event) => void)>
type Child = Node | string

export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T
}

export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name)
  fill(made, attributes, children)
  return made
}

export function drawing<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[Name] {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  fill(made, attributes, children)
  return made
}

function fill(made: Element, attributes: Attributes, children: readonly Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name, value)
    else if (value === true) made.setAttribute(name, '')
    else if (value !== undefined && value !== false) made.setAttribute(name, String(value))
  }
  made.append(...children)
}

/** One of several, as buttons in a row; the arrow keys move between them. */
export function choice<T extends string>(
  group: HTMLElement,
  values: readonly (readonly [T, string])[],
  chosen: T,
  onChange: (value: T) => void
): void {
  const buttons = values.map(([value, text]) => {
    const choose = () => {
      for (const button of buttons) {
        const isIt = button.dataset.value === value
        button.setAttribute('aria-checked', String(isIt))
        button.tabIndex = isIt ? 0 : -1
      }
      onChange(value)
    }
    const isIt = value === chosen
    const attributes = { type: 'button', role: 'radio', 'aria-checked': String(isIt), tabindex: isIt ? 0 : -1 }
    const button = element('button', { ...attributes, click: choose }, text)
    button.dataset.value = value
    return button
  })
  group.addEventListener('keydown', ({ key }) => {
    const step = key === 'ArrowRight' || key === 'ArrowDown' ? 1 : key === 'ArrowLeft' || key === 'ArrowUp' ? -1 : 0
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement)
    if (step === 0 || at < 0) return
    const next = buttons[(at + step + buttons.length) % buttons.length]!
    next.focus()
    next.click()
  })
  group.replaceChildren(...buttons)
}

/** `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)} s`
  const units: [number, string][] = [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'min']
  ]
  for (const [size, name] of units) if (ms >= 2 * size) return `${Math.floor(ms / size)} ${name}`
  return `${Math.floor(ms / 1_000)} s`
}

/** As it could be typed. */
export function commandLine(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')
}

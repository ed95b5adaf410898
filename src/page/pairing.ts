/** Pairing by numbers, as `kappa pair` does it: one side shows six digits, the other types them. */

import type { PairEvent, PairResult } from '../daemon/control-results.ts'
import { lines, post } from './api.ts'
import { byId, duration, element } from './elements.ts'

type Told = PairEvent | ({ type: 'paired' } & PairResult) | { type: 'error'; message: string }

interface Shown {
  digits: string
  name: string
}

export class Pairing {
  readonly #dialog = byId<HTMLDialogElement>('pairing')
  readonly #steps = byId('pairing-steps')
  #under: AbortController | undefined
  /** Shown until the other side has typed them. */
  #digits: Shown | undefined

  constructor() {
    this.#dialog.addEventListener('close', () => this.#under?.abort())
  }

  open(): void {
    this.#under?.abort()
    this.#ask()
    this.#dialog.showModal()
  }

  /** Whose machine it is, and which of the two sides this one is. */
  #ask(): void {
    const own = element('input', { type: 'radio', name: 'kind', value: 'own' })
    const friend = element('input', { type: 'radio', name: 'kind', value: 'friend', checked: true })
    const target = element('input', { type: 'text', name: 'target', autocomplete: 'off', spellcheck: 'false' })
    const begin = (event: Event) => {
      event.preventDefault()
      const isWaiting = (event as SubmitEvent).submitter?.getAttribute('value') === 'wait'
      const name = target.value.trim()
      if (!isWaiting && name === '') target.focus()
      else void this.#run({ kind: own.checked ? 'own' : 'friend', ...(isWaiting ? {} : { target: name }) })
    }
    const close = () => this.#dialog.close()
    this.#steps.replaceChildren(
      element(
        'form',
        { submit: begin },
        element(
          'fieldset',
          {},
          element('legend', {}, 'The other machine is'),
          element('label', { class: 'check' }, friend, " somebody else's: its jobs have no network here"),
          element('label', { class: 'check' }, own, ' my own: it may see my files while my jobs run there')
        ),
        element('label', {}, 'It waits already, and is called', target),
        element('p', { class: 'quiet' }, 'A name on this network, or HOST:PORT.'),
        element(
          'div',
          { class: 'actions' },
          element('button', { type: 'button', click: close }, 'Cancel'),
          element('button', { type: 'submit', value: 'wait' }, 'Wait for it here'),
          element('button', { type: 'submit', value: 'join', class: 'main' }, 'Pair with it')
        )
      )
    )
  }

  async #run(params: object): Promise<void> {
    const under = new AbortController()
    this.#under = under
    this.#say('One moment …')
    try {
      for await (const told of lines('pair', params, under.signal)) this.#show(told as Told)
    } catch (error) {
      if (!under.signal.aborted) this.#end((error as Error).message, false)
    }
  }

  #show(told: Told): void {
    if ('need' in told) {
      if (told.need === 'digits') this.#askDigits(told.name)
      else this.#askConfirmation(told.name)
    } else if (told.type === 'waiting') {
      const command = element('code', { class: 'foreign' }, `kappa pair ${told.name}`)
      this.#say(`Waiting for ${duration(told.forMs)}. On the other machine: `, command)
    } else if (told.type === 'try') this.#say(`${told.name} wants to pair.`)
    else if (told.type === 'found') this.#say(`Found ${told.name}.`)
    else if (told.type === 'digits') {
      this.#digits = told
      this.#steps.replaceChildren(...digitsOf(told), element('div', { class: 'actions' }, this.#cancel()))
    } else if (told.type === 'matched') this.#say(`The digits match; confirm it on ${told.name}.`)
    else if (told.type === 'failed') this.#say(`That try failed: ${told.reason}. ${told.left} left.`)
    else if (told.type === 'paired') this.#end(`Paired with ${told.name}.`, true)
    else if (told.type === 'error') this.#end(told.message, false)
  }

  /** The digits stay in sight while their match is confirmed. */
  #askConfirmation(name: string): void {
    const digits = this.#digits === undefined ? [] : digitsOf(this.#digits)
    const answer = (isSame: boolean) => () => void post('answer', { confirm: isSame }).catch(this.#failed)
    this.#steps.replaceChildren(
      ...digits,
      element('p', { role: 'status' }, `Does ${name} say that the digits match?`),
      element(
        'div',
        { class: 'actions' },
        element('button', { type: 'button', click: answer(false) }, 'No'),
        element('button', { type: 'button', class: 'main', click: answer(true) }, 'Yes, they match')
      )
    )
  }

  #askDigits(name: string): void {
    const attributes = { inputmode: 'numeric', autocomplete: 'off', maxlength: 7, pattern: '[0-9]{3} ?[0-9]{3}' }
    const input = element('input', { type: 'text', class: 'digits', required: true, ...attributes })
    const send = (event: Event) => {
      event.preventDefault()
      void post('answer', { digits: input.value.replaceAll(/\D/g, '') }).catch(this.#failed)
    }
    this.#steps.replaceChildren(
      element(
        'form',
        { submit: send },
        element('label', {}, `Digits shown on ${name}`, input),
        element(
          'div',
          { class: 'actions' },
          this.#cancel(),
          element('button', { type: 'submit', class: 'main' }, 'Done')
        )
      )
    )
    input.focus()
  }

  #failed = (error: unknown): void => this.#end((error as Error).message, false)

  #say(text: string, ...more: Node[]): void {
    const said = element('p', { role: 'status' }, text)
    this.#steps.replaceChildren(said, ...more, element('div', { class: 'actions' }, this.#cancel()))
  }

  #cancel(): HTMLElement {
    return element('button', { type: 'button', click: () => this.#dialog.close() }, 'Cancel')
  }

  #end(text: string, isGood: boolean): void {
    const again = element('button', { type: 'button', click: () => this.#ask() }, 'Again')
    const close = element('button', { type: 'button', class: 'main', click: () => this.#dialog.close() }, 'Close')
    this.#steps.replaceChildren(
      element('p', { role: 'status', class: isGood ? 'good foreign' : 'bad foreign' }, text),
      element('div', { class: 'actions' }, ...(isGood ? [close] : [again, close]))
    )
  }
}

function digitsOf({ digits, name }: Shown): HTMLElement[] {
  return [
    element('p', {}, `Type these digits on ${name}:`),
    element('p', { class: 'digits' }, digits.replace(/^(...)/, '$1 '))
  ]
}

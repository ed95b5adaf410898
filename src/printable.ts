/** Longest name of a machine, in characters, as it is shown and sent. */
export const NAME_LENGTH_MAX = 64

/** Controls, what reorders or hides text around it, line separators, and halves of surrogate pairs. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/**
 * Text from another machine, safe to show to a person: control characters, bidirectional overrides and invisible
 * characters as `\u{1b}`, and not longer than `lengthMax` characters.
 */
export function printable(text: string, lengthMax: number = NAME_LENGTH_MAX): string {
  // No character is cut in two; what is cut off before escaping could not have been shown in full anyway.
  const head = text.slice(0, 2 * (lengthMax + 1))
  const escaped = head.replaceAll(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
  const characters = [...escaped]
  return characters.length <= lengthMax ? escaped : `${characters.slice(0, lengthMax - 1).join('')}…`
}

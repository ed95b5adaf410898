/** The version of this program; kept equal to package.json's by a test. */
export const VERSION = '0.1.0'

export type Distance = 'none' | 'near' | 'too old' | 'too new'

/**
 * How far another peer's version is from this one's. Neighbouring minor versions work together: what one of them sends, the
 * other understands or may ignore. Farther ones are left alone. What is no version is none's fault: it is near.
 */
export function distanceOf(other: string, own: string = VERSION): Distance {
  if (other === own) return 'none'
  const [theirs, ours] = [partsOf(other), partsOf(own)]
  if (theirs === undefined || ours === undefined) return 'near'
  if (theirs.major !== ours.major) return theirs.major > ours.major ? 'too new' : 'too old'
  if (Math.abs(theirs.minor - ours.minor) <= 1) return 'near'
  return theirs.minor > ours.minor ? 'too new' : 'too old'
}

/** What to tell a person of a peer whose version is too far away. */
export function tooFar(other: string, own: string = VERSION): string {
  return distanceOf(other, own) === 'too new'
    ? `runs kappa ${other}, too new for ${own} here: update this machine`
    : `runs kappa ${other}, too old for ${own} here: update it`
}

function partsOf(version: string): { major: number; minor: number } | undefined {
  const [, major, minor] = /^(\d{1,9})\.(\d{1,9})\.\d{1,9}(?:[-+].*)?$/.exec(version) ?? []
  return major === undefined ? undefined : { major: Number(major), minor: Number(minor) }
}

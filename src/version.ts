/** The version of this program; kept equal to package.json's by a test. */
export const VERSION = '0.1.0'

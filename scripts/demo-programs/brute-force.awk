# Brute force: which trip through all places is the shortest? Tries them all, but for those that are too long already.
function go(at, visited, far,    to) {
  if (far >= best) return
  if (visited == places) { best = far; return }
  for (to = 1; to < places; to++) {
    if (seen[to]) continue
    seen[to] = 1
    go(to, visited + 1, far + away[at, to])
    seen[to] = 0
  }
}
BEGIN {
  places = 11
  state = 12345
  for (from = 0; from < places; from++) for (to = 0; to < places; to++) {
    state = (state * 1103 + 12345) % 65536
    away[from, to] = 25 + state % 30
  }
  best = 1000000
  go(0, 1, 0)
  print "the shortest trip is", best
}

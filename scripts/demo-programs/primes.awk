# Primes: counts them by trial division.
BEGIN {
  for (candidate = 2; candidate < 300000; candidate++) {
    for (divisor = 2; divisor * divisor <= candidate && candidate % divisor; divisor++);
    if (divisor * divisor > candidate) primes++
  }
  print primes, "primes"
}

# Exponentiation: powers of many bases modulo a prime, by squaring.
BEGIN {
  modulus = 67108859
  for (base = 2; base < 120000; base++) {
    power = 1
    square = base
    for (exponent = modulus - 2; exponent > 0; exponent = int(exponent / 2)) {
      if (exponent % 2) power = (power * square) % modulus
      square = (square * square) % modulus
    }
    # Fermat: base to the (modulus - 1) is 1.
    if ((power * base) % modulus == 1) inverses++
  }
  print inverses, "inverses"
}

//! SHA-256 (FIPS 180-4), for comparing a file with what the node's policy names.
//!
//! By hand: nothing else of brig's needs a digest, and a crate for one has code for every processor.

use std::io::{self, Read};

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
const ROUNDS: [u32; 64] = rounds();

/// What the state is at first: the same of the square roots of the first eight (5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The cube root of each prime in fixed point, by halving: exact in integers.
const fn rounds() -> [u32; 64] {
    let mut table = [0; 64];
    let (mut found, mut number) = (0, 2_u32);
    while found < table.len() {
        let (mut divisor, mut is_prime) = (2, true);
        while divisor * divisor <= number {
            if number.is_multiple_of(divisor) {
                is_prime = false;
            }
            divisor += 1;
        }
        if is_prime {
            table[found] = fraction_of_cube_root(number);
            found += 1;
        }
        number += 1;
    }
    table
}

/// The greatest x with x³ ≤ number · 2⁹⁶, of which the lower 32 bits are the fraction.
const fn fraction_of_cube_root(number: u32) -> u32 {
    let (mut low, mut high) = (0_u128, 1_u128 << 36);
    while high - low > 1 {
        let middle = (low + high) / 2;
        // Of at most 108 bits; the other side has at most 105.
        if middle * middle * middle <= (number as u128) << 96 {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low & 0xffff_ffff) as u32
}

/// The digest of all that can be read, in hexadecimal.
///
/// # Errors
/// It cannot be read, or is longer than `limit_bytes`.
pub(crate) fn sha256(reader: impl Read, limit_bytes: u64) -> io::Result<String> {
    let mut reader = reader.take(limit_bytes + 1);
    let (mut state, mut length) = (START, 0_u64);
    let mut chunk = vec![0; 1 << 16];
    let mut rest = 0;
    loop {
        let read = reader.read(&mut chunk[rest..])?;
        length += read as u64;
        rest += read;
        if read == 0 {
            break;
        }
        let whole = rest - rest % 64;
        for block in chunk[..whole].chunks_exact(64) {
            compress(&mut state, block);
        }
        chunk.copy_within(whole..rest, 0);
        rest -= whole;
    }
    if length > limit_bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut end = chunk[..rest].to_vec();
    end.push(0x80);
    end.resize(if rest < 56 { 56 } else { 120 }, 0);
    end.extend((length * 8).to_be_bytes());
    for block in end.chunks_exact(64) {
        compress(&mut state, block);
    }
    Ok(state.iter().map(|word| format!("{word:08x}")).collect())
}

/// 6.2.2.
fn compress(state: &mut [u32; 8], block: &[u8]) {
    let mut words = [0_u32; 64];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    for at in 16..64 {
        let (near, far) = (words[at - 2], words[at - 15]);
        let near = near.rotate_right(17) ^ near.rotate_right(19) ^ near >> 10;
        let far = far.rotate_right(7) ^ far.rotate_right(18) ^ far >> 3;
        words[at] = near.wrapping_add(words[at - 7]).wrapping_add(far).wrapping_add(words[at - 16]);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (round, word) in ROUNDS.iter().zip(words) {
        let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = e & f ^ !e & g;
        let first =
            h.wrapping_add(sum).wrapping_add(choice).wrapping_add(*round).wrapping_add(word);
        let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = a & b ^ a & c ^ b & c;
        let second = sum.wrapping_add(majority);
        (h, g, f, e) = (g, f, e, d.wrapping_add(first));
        (d, c, b, a) = (c, b, a, first.wrapping_add(second));
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of FIPS 180-2, appendix B, and of the empty text.
    #[test]
    fn digests_are_those_of_the_standard() {
        let of = |text: &[u8]| sha256(text, 2_000_000).expect("it is short");
        let cases: [(&[u8], &str); 3] = [
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ];
        for (text, digest) in cases {
            assert_eq!(of(text), digest);
        }
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(of(&vec![b'a'; 1_000_000]), million);
        assert!(sha256(&b"abc"[..], 2).is_err(), "longer than the limit");
    }
}

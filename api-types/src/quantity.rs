//! Resource quantities: `500m`, `1.5Gi`, `2e3`.
//!
//! A quantity is a decimal number of at most nine fractional digits, with a memory of the family of suffixes it
//! was written in, so that it is printed in the same family. The rules are those of upstream's
//! `apimachinery/pkg/api/resource`: rounding is always up, and a canonical form has no fraction and the largest
//! suffix that loses nothing.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

/// Nano units in one: the resolution kept.
const NANO: i128 = 1_000_000_000;

/// The family of suffixes a quantity is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `m`, none, `k`, `M`, `G`, `T`, `P`, `E`: powers of 1,000.
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`: powers of 1,024.
    BinarySi,
    /// `e3`, `E6`: an explicit power of ten.
    DecimalExponent,
}

/// A fixed-point number with a unit suffix. Equality and order look at the amount only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// The text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct ParseQuantityError;

const BINARY: [(&str, u32); 6] = [("Ki", 1), ("Mi", 2), ("Gi", 3), ("Ti", 4), ("Pi", 5), ("Ei", 6)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// A whole number of units.
    pub fn from_value(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// Thousandths of a unit.
    pub fn from_milli(milli: i64, format: Format) -> Self {
        Self { nanos: i128::from(milli) * (NANO / 1000), format }
    }

    /// The amount in whole units, rounded up, saturating.
    pub fn value(&self) -> i64 {
        saturate(div_up(self.nanos, NANO))
    }

    /// The amount in thousandths, rounded up, saturating.
    pub fn milli_value(&self) -> i64 {
        saturate(div_up(self.nanos, NANO / 1000))
    }

    /// The amount in billionths, exact.
    pub fn nano_value(&self) -> i128 {
        self.nanos
    }

    /// The family of suffixes it is printed in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Less than nothing.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Exactly nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }
}

fn div_up(n: i128, d: i128) -> i128 {
    let q = n / d;
    // Away from zero, as upstream rounds.
    if n % d == 0 { q } else { q + n.signum() }
}

fn saturate(n: i128) -> i64 {
    i64::try_from(n).unwrap_or(if n < 0 { i64::MIN } else { i64::MAX })
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(s: &str) -> Result<Self, ParseQuantityError> {
        let (negative, rest) = match s.as_bytes().first() {
            Some(b'-') => (true, &s[1..]),
            Some(b'+') => (false, &s[1..]),
            _ => (false, s),
        };
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(ParseQuantityError);
        }
        let (format, binary, ten) = parse_suffix(suffix)?;
        let mut nanos = scaled_digits(whole, fraction, binary, ten);
        if negative {
            nanos = -nanos;
        }
        // Upstream caps at 2^63-1 in magnitude.
        let cap = i128::from(i64::MAX) * NANO;
        Ok(Self { nanos: nanos.clamp(-cap, cap), format })
    }
}

/// The suffix as (family, multiplier, power of ten).
fn parse_suffix(suffix: &str) -> Result<(Format, i128, i32), ParseQuantityError> {
    if let Some((_, power)) = BINARY.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::BinarySi, 1i128 << (10 * power), 0));
    }
    if let Some((_, ten)) = DECIMAL.iter().find(|(s, _)| *s == suffix) {
        return Ok((Format::DecimalSi, 1, *ten));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseQuantityError)?;
    let ten: i32 = exponent.parse().map_err(|_| ParseQuantityError)?;
    Ok((Format::DecimalExponent, 1, ten.clamp(-100, 100)))
}

/// `whole.fraction * multiplier * 10^ten` in nanos, rounded up, saturating far above the cap.
fn scaled_digits(whole: &str, fraction: &str, multiplier: i128, ten: i32) -> i128 {
    const HUGE: i128 = i128::MAX / 4;
    let mut mantissa: i128 = 0;
    let mut scale = ten + 9 - fraction.len() as i32;
    let mut lost = false;
    for d in whole.bytes().chain(fraction.bytes()) {
        if mantissa > HUGE / 1024 / 1024 / 1024 / 1024 / 1024 / 1024 / 10 {
            // More digits than can matter: they only move the point.
            scale += 1;
            lost |= d != b'0';
            continue;
        }
        mantissa = mantissa * 10 + i128::from(d - b'0');
    }
    let mut n = mantissa.saturating_mul(multiplier);
    while scale > 0 && n != 0 && n < HUGE {
        n = n.saturating_mul(10);
        scale -= 1;
    }
    while scale < 0 && n != 0 {
        if n % 10 != 0 {
            lost = true;
        }
        n /= 10;
        scale += 1;
    }
    if lost { n.saturating_add(1).max(1) } else { n }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi && self.nanos % NANO == 0 {
            let units = self.nanos / NANO;
            // Below 1,024 a binary quantity is printed as a plain number, as upstream does.
            if units.abs() >= 1024 {
                for (suffix, power) in BINARY.iter().rev() {
                    let unit = 1i128 << (10 * power);
                    if units % unit == 0 {
                        return write!(f, "{}{suffix}", units / unit);
                    }
                }
            }
            return write!(f, "{units}");
        }
        let mut n = self.nanos;
        let mut ten = -9;
        while ten < 18 && n % 1000 == 0 {
            n /= 1000;
            ten += 3;
        }
        if self.format == Format::DecimalExponent {
            return if ten == 0 { write!(f, "{n}") } else { write!(f, "{n}e{ten}") };
        }
        let suffix = DECIMAL.iter().find(|(_, t)| *t == ten).map_or("", |(s, _)| s);
        write!(f, "{n}{suffix}")
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}
impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}
impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(s: &str) -> Quantity {
        s.parse().unwrap()
    }

    #[test]
    fn canonical_forms() {
        for (text, canonical) in [
            ("0", "0"),
            ("100m", "100m"),
            ("0.1", "100m"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("2000", "2k"),
            ("1024Ki", "1Mi"),
            ("1e3", "1e3"),
            ("1000e0", "1e3"),
            ("-2", "-2"),
            ("+2", "2"),
            ("128Mi", "128Mi"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            (".5", "500m"),
            ("1E", "1E"),
            ("123456789012", "123456789012"),
        ] {
            assert_eq!(q(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn rejects_what_is_no_quantity() {
        for text in ["", "m", "1.2.3", "1Kib", "abc", "1 Mi", "--1", "1e", "0x10"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }

    #[test]
    fn rounds_up() {
        assert_eq!(q("1m").value(), 1);
        assert_eq!(q("100u").milli_value(), 1);
        assert_eq!(q("250m").milli_value(), 250);
        assert_eq!(q("1Gi").value(), 1 << 30);
    }

    #[test]
    fn orders_and_adds() {
        assert!(q("1Gi") > q("1G"));
        assert_eq!(q("1000m"), q("1"));
        assert_eq!((q("1") + q("500m")).to_string(), "1500m");
        assert_eq!((q("1Gi") - q("512Mi")).to_string(), "512Mi");
    }

    #[test]
    fn far_too_large_is_capped() {
        assert_eq!(q("99999999999999999999999999999999999999999999").value(), i64::MAX);
    }
}

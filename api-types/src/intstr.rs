//! A count or a percentage: `3`, `"25%"`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The text is neither a number nor a percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for IntOrString: invalid type: {0:?} is not a percentage")]
pub struct IntOrStringError(String);

/// The percentage a text holds, without its sign.
pub fn percent(text: &str) -> Option<i32> {
    let digits = text.strip_suffix('%')?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The count that `value` means of `total`; a percentage is rounded up or down as asked.
pub fn scaled_value(value: &IntOrString, total: i32, round_up: bool) -> Result<i32, IntOrStringError> {
    match value {
        IntOrString::Int(n) => Ok(*n),
        IntOrString::String(text) => {
            let percent = percent(text).ok_or_else(|| IntOrStringError(text.clone()))?;
            let product = i64::from(percent) * i64::from(total);
            let scaled = if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            Ok(i32::try_from(scaled).unwrap_or(i32::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let p = IntOrString::String("25%".into());
        assert_eq!(scaled_value(&p, 10, true), Ok(3));
        assert_eq!(scaled_value(&p, 10, false), Ok(2));
        assert_eq!(scaled_value(&IntOrString::Int(4), 10, false), Ok(4));
        assert!(scaled_value(&IntOrString::String("4".into()), 10, false).is_err());
        assert!(scaled_value(&IntOrString::String("-4%".into()), 10, false).is_err());
    }
}

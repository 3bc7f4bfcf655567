//! Names for `generateName`, as upstream makes them.

use rand::RngExt;

/// No vowels and no digits that look like letters: no words come out.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// A label of 63 characters must fit the whole name.
const MAX_STEM: usize = 63 - SUFFIX;

/// `stem` and five random characters.
pub fn generate(stem: &str) -> String {
    let mut end = stem.len().min(MAX_STEM);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let mut rng = rand::rng();
    let mut name = stem[..end].to_owned();
    for _ in 0..SUFFIX {
        name.push(char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    }
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_fit_a_label() {
        let n = super::generate(&"a".repeat(100));
        assert_eq!(n.len(), 63);
        assert!(super::generate("web-").starts_with("web-"));
    }
}

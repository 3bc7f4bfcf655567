//! Whether a text is a template of JSONPath as `client-go/util/jsonpath` reads them. Nothing is evaluated.

use std::sync::LazyLock;

use regex::Regex;

static KEY: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^'([^']*)'$").ok());
static SLICE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^(-?\d*)(:-?\d*)?(:-?\d*)?$").ok());
static COMPARISON: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^([^!<>=]+)([!<>=]+)(.+?)$").ok());

/// Why the parser refuses a template: text, and paths in braces.
pub fn check(template: &str) -> Result<(), String> {
    let mut scanner = Scanner { rest: template };
    while let Some(at) = scanner.rest.find('{') {
        scanner.rest = &scanner.rest[at + 1..];
        scanner.action()?;
    }
    Ok(())
}

/// The same for what stands between braces.
fn check_action(action: &str) -> Result<(), String> {
    check(&format!("{{{action}}}"))
}

struct Scanner<'t> {
    rest: &'t str,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// A path, up to and with the brace that closes it.
    fn action(&mut self) -> Result<(), String> {
        let mut descends = false;
        loop {
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Ok(());
            }
            if let Some(rest) = self.rest.strip_prefix("..") {
                if descends {
                    return Err("invalid multiple recursive descent".into());
                }
                self.rest = rest;
                descends = !self.rest.starts_with(is_word);
                if !descends {
                    self.field();
                }
                continue;
            }
            if let Some(rest) = self.rest.strip_prefix("[?(") {
                self.rest = rest;
                self.filter()?;
            } else {
                match self.next() {
                    None | Some('\r' | '\n') => return Err("unclosed action".into()),
                    Some(' ' | '@' | '$') => continue,
                    Some('[') => self.array()?,
                    Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
                    Some('.') => self.field(),
                    Some(c) if c.is_ascii_digit() || c == '+' || c == '-' => self.number(c)?,
                    Some(c) if is_word(c) => self.field(),
                    Some(c) => {
                        let code = u32::from(c);
                        return Err(format!("unrecognized character in action: U+{code:04X} '{c}'"));
                    }
                }
            }
            descends = false;
        }
    }

    /// A name, up to what ends it.
    fn field(&mut self) {
        while let Some(c) = self.rest.chars().next().filter(|c| !ends_name(*c)) {
            self.next();
            if c == '\\' {
                self.next();
            }
        }
    }

    fn number(&mut self, first: char) -> Result<(), String> {
        let end = self.rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let number = format!("{first}{}", &self.rest[..end]);
        self.rest = &self.rest[end..];
        match number.parse::<f64>() {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("cannot parse number {number}")),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<(), String> {
        let mut before = quote;
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some(c) if c == quote && before != '\\' => return Ok(()),
                Some(c) => before = c,
            }
        }
    }

    fn array(&mut self) -> Result<(), String> {
        let end = self.rest.find([']', '\n']).filter(|at| self.rest[*at..].starts_with(']'));
        let end = end.ok_or("unterminated array")?;
        let inside = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        if inside == "*" {
            return Ok(());
        }
        if inside.contains(',') {
            return inside.split(',').try_for_each(|i| check_action(&format!("[{}]", i.trim_matches(' '))));
        }
        if let Some(key) = KEY.as_ref().and_then(|k| k.captures(inside)) {
            return check_action(&format!(".{}", &key[1]));
        }
        let Some(slice) = SLICE.as_ref().and_then(|s| s.captures(inside)) else {
            return Err(format!("invalid array index {inside}"));
        };
        let numbers = slice.iter().skip(1).flatten().map(|n| n.as_str().trim_start_matches(':'));
        match numbers.filter(|n| !n.is_empty()).find(|n| n.parse::<i64>().is_err()) {
            Some(bad) => Err(format!("array index {bad} is not a number")),
            None => Ok(()),
        }
    }

    fn filter(&mut self) -> Result<(), String> {
        let whole = self.rest;
        let (mut quote, mut before, mut closed) = (None, ' ', false);
        let end = loop {
            let at = whole.len() - self.rest.len();
            match self.next() {
                None | Some('\n') => return Err("unterminated filter".into()),
                Some(c @ ('"' | '\'')) if quote.is_none() => quote = Some(c),
                Some(c) if Some(c) == quote && before != '\\' => closed = true,
                Some(')') if quote.is_none() || closed => break at,
                Some(c) => before = c,
            }
        };
        if self.next() != Some(']') {
            return Err("unclosed array expect ]".into());
        }
        match COMPARISON.as_ref().and_then(|c| c.captures(&whole[..end])) {
            None => check_action(&whole[..end]),
            Some(sides) => check_action(&sides[1]).and_then(|()| check_action(&sides[3])),
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn ends_name(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn templates() {
        for (template, want) in [
            ("{spec.validations[0].expression}", Ok(())),
            ("a {.items[*]['metadata.name', 'status']} b {$..name}", Ok(())),
            ("{.a[?(@.b == \"c)\")].d}", Ok(())),
            ("{.a[-1:]}", Ok(())),
            ("text", Ok(())),
            ("{.a", Err("unclosed action")),
            ("{!}", Err("unrecognized character in action: U+0021 '!'")),
            ("{.a[0}", Err("unterminated array")),
            ("{.a[x]}", Err("invalid array index x")),
            ("{.a[-]}", Err("array index - is not a number")),
            ("{'a}", Err("unterminated quoted string")),
            ("{1.2.3}", Err("cannot parse number 1.2.3")),
            ("{....a}", Err("invalid multiple recursive descent")),
            ("{.a[?(@.b)}", Err("unclosed array expect ]")),
            ("{.a[?(@.b]}", Err("unterminated filter")),
        ] {
            assert_eq!(check(template), want.map_err(str::to_owned), "{template}");
        }
    }
}

//! Tokens of a file (`--token-auth-file`): lines of `token,user,uid[,"group1,group2"]`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{Authenticated, Refused, TokenAuthenticator, UserInfo};

/// The users of a token file. Tokens are kept as digests, so that looking one up tells nothing by its time.
pub struct StaticTokens(HashMap<[u8; 32], Arc<UserInfo>>);

impl StaticTokens {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::parse(&std::fs::read_to_string(path).map_err(|e| e.to_string())?)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let fields = fields(line);
            let [token, name, uid, rest @ ..] = fields.as_slice() else {
                return Err(format!(
                    "line {}: a line has at least 3 columns (token, user name, user uid), found {}",
                    i + 1,
                    fields.len()
                ));
            };
            if token.is_empty() {
                return Err(format!("line {}: the token is empty", i + 1));
            }
            let groups = rest.first().map_or("", String::as_str).split(',').map(str::trim);
            let groups = groups.filter(|g| !g.is_empty()).map(str::to_owned).collect();
            let user = UserInfo { uid: uid.clone(), ..UserInfo::authenticated(name.clone(), groups) };
            users.insert(Sha256::digest(token.as_bytes()).into(), Arc::new(user));
        }
        Ok(Self(users))
    }
}

/// The fields of a line of comma separated values.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field).trim().to_owned()),
            c => field.push(c),
        }
    }
    fields.push(field.trim().to_owned());
    fields
}

#[async_trait]
impl TokenAuthenticator for StaticTokens {
    async fn authenticate(&self, token: &str, _: &[String]) -> Result<Option<Authenticated>, Refused> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        Ok(self.0.get(&digest).map(|user| Authenticated::anywhere(user.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn users_and_groups() {
        let tokens = StaticTokens::parse("abc,jane,7,\"a,b\"\n\ndef , joe , 8\n").unwrap();
        let user = |token: &'static str| {
            let tokens = &tokens;
            async move { tokens.authenticate(token, &[]).await.unwrap().map(|a| a.user) }
        };
        let jane = user("abc").await.unwrap();
        assert_eq!((jane.name.as_str(), jane.uid.as_str()), ("jane", "7"));
        assert_eq!(jane.groups, ["a", "b", "system:authenticated"]);
        assert_eq!(user("def").await.unwrap().name, "joe");
        assert!(user("ghi").await.is_none());
        for bad in ["a,b", "x", ",b,c"] {
            assert!(StaticTokens::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Descriptions of types and fields, gathered by `build.rs` from `k8s-openapi`.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// JSON, compressed: type → field → text; the type's own text stands under the empty field.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.json.z"));

/// Descriptions by full type name.
pub struct Descriptions(HashMap<String, HashMap<String, String>>);

impl Descriptions {
    /// Unpacks them all. They are dropped with the document that is made of them, so that an idle server keeps none.
    pub fn read() -> Self {
        let mut json = Vec::new();
        let unpacked = ZlibDecoder::new(PACKED).read_to_end(&mut json).map_err(|e| e.to_string());
        let texts = unpacked.and_then(|_| serde_json::from_slice(&json).map_err(|e| e.to_string()));
        Self(texts.unwrap_or_else(|error| {
            tracing::error!(error, "the descriptions of types cannot be unpacked");
            HashMap::new()
        }))
    }

    /// The description of a type.
    pub fn of_type(&self, name: &str) -> Option<&str> {
        self.field(name, "")
    }

    /// The description of a field.
    pub fn field(&self, name: &str, field: &str) -> Option<&str> {
        Some(self.0.get(name)?.get(field)?.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_types::catalog;
    use api_types::schema::Table;

    #[test]
    fn every_kind_is_described() {
        let d = Descriptions::read();
        let table = Table::builtin();
        for k in catalog::all() {
            let name = table.get(table.find(k.type_name).unwrap()).openapi_name();
            assert!(d.of_type(&name).is_some(), "{k:?} needs a word in apiserver/build.rs");
            assert!(d.field(&name, "kind").is_some(), "{k:?}");
        }
    }
}

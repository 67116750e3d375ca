//! Which of an issuer's published keys can be used, and as what. A key that isn't certainly for a pinned algorithm is left
//! out, so that a token can't have its signature checked with a key that was made for something else.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

use super::Algorithm;

/// The smallest RSA modulus in bytes: 2048 bits (RFC 7518, section 3.3).
const RSA_MIN_BYTES: usize = 256;

/// Usable keys by their ids, each with the one algorithm that it is for.
pub(super) type KeySet = HashMap<String, (Algorithm, DecodingKey)>;

#[derive(Deserialize)]
struct Document {
    // Each key is read by itself, because one of an unknown kind must not spoil the others.
    keys: Vec<Value>,
}

/// RFC 7517 and RFC 8037, as far as it matters.
#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    crv: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The usable keys in a published document, whose length bounds them; the first one if an id comes twice.
pub(super) fn parse(document: &[u8], algorithms: &[Algorithm]) -> Result<KeySet, serde_json::Error> {
    let document: Document = serde_json::from_slice(document)?;
    let mut keys = KeySet::new();
    for value in document.keys {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        let fitting = |algorithm: &Algorithm| jwk.key(*algorithm).map(|key| (*algorithm, key));
        if let Some(key) = algorithms.iter().find_map(fitting) {
            keys.entry(jwk.kid).or_insert(key);
        }
    }
    Ok(keys)
}

impl Jwk {
    fn key(&self, algorithm: Algorithm) -> Option<DecodingKey> {
        if !self.is_for_signatures(algorithm) {
            return None;
        }
        match (algorithm, self.kty.as_str(), self.crv.as_deref()) {
            (Algorithm::EdDsa, "OKP", Some("Ed25519")) => {
                let x = self.x.as_ref().filter(|x| bytes(x) == Some(32))?;
                DecodingKey::from_ed_components(x).ok()
            }
            (Algorithm::Es256, "EC", Some("P-256")) => {
                let coordinate =
                    |value: &Option<String>| value.clone().filter(|text| bytes(text) == Some(32));
                DecodingKey::from_ec_components(&coordinate(&self.x)?, &coordinate(&self.y)?).ok()
            }
            (Algorithm::Rs256, "RSA", _) => {
                let n = self.n.as_ref().filter(|n| bytes(n).is_some_and(|bytes| bytes >= RSA_MIN_BYTES))?;
                DecodingKey::from_rsa_components(n, self.e.as_ref()?).ok()
            }
            _ => None,
        }
    }

    /// Whether nothing that the key says of itself speaks against it.
    fn is_for_signatures(&self, algorithm: Algorithm) -> bool {
        let fits = |value: &Option<String>, wanted: &str| value.as_ref().is_none_or(|value| value == wanted);
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        fits(&self.alg, algorithm.name())
            && fits(&self.usage, "sig")
            && self.key_ops.as_ref().is_none_or(verifies)
    }
}

fn bytes(base64url: &str) -> Option<usize> {
    URL_SAFE_NO_PAD.decode(base64url).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ed25519() -> Value {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        json!({ "kid": "k", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x })
    }

    fn usable(jwk: &Value, algorithm: Algorithm) -> usize {
        parse(json!({ "keys": [jwk] }).to_string().as_bytes(), &[algorithm]).unwrap().len()
    }

    /// A server with many roles publishes the keys of all.
    #[test]
    fn the_last_of_many_keys_is_used_too() {
        let named = |number: u32| {
            let mut jwk = ed25519();
            jwk["kid"] = json!(format!("k{number}"));
            jwk
        };
        let keys: Vec<Value> = (0..500).map(named).collect();
        let parsed = parse(json!({ "keys": keys }).to_string().as_bytes(), &[Algorithm::EdDsa]).unwrap();
        assert!(parsed.len() == 500 && parsed.contains_key("k499"));
    }

    #[test]
    fn only_a_key_for_the_pinned_algorithm_is_used() {
        assert_eq!(usable(&ed25519(), Algorithm::EdDsa), 1);
        assert_eq!(usable(&ed25519(), Algorithm::Es256), 0);
        assert_eq!(usable(&ed25519(), Algorithm::Rs256), 0);
    }

    #[test]
    fn each_key_is_for_one_of_the_pinned_algorithms() {
        let rsa = json!({ "kid": "r", "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB" });
        let document = json!({ "keys": [ed25519(), rsa] }).to_string();
        let keys = parse(document.as_bytes(), &[Algorithm::Rs256, Algorithm::EdDsa]).unwrap();
        assert_eq!((keys["k"].0, keys["r"].0), (Algorithm::EdDsa, Algorithm::Rs256));
    }

    #[test]
    fn what_a_key_says_of_itself_has_to_agree() {
        for (field, value) in [
            ("kty", json!("EC")),
            ("crv", json!("X25519")),
            ("crv", json!(null)),
            ("alg", json!("ES256")),
            ("use", json!("enc")),
            ("key_ops", json!(["sign"])),
            ("x", json!("AAAA")),
            ("x", json!("not base64!")),
            ("kid", json!(null)),
        ] {
            let mut jwk = ed25519();
            jwk[field] = value.clone();
            assert_eq!(usable(&jwk, Algorithm::EdDsa), 0, "{field} = {value}");
        }
        let mut bare = ed25519();
        for optional in ["alg", "use"] {
            bare.as_object_mut().unwrap().remove(optional);
        }
        assert_eq!(usable(&bare, Algorithm::EdDsa), 1);
    }

    #[test]
    fn small_rsa_keys_and_symmetric_ones_are_left_out() {
        let rsa = |bytes| json!({ "kid": "k", "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB" });
        assert_eq!(usable(&rsa(256), Algorithm::Rs256), 1);
        assert_eq!(usable(&rsa(128), Algorithm::Rs256), 0);
        assert_eq!(usable(&json!({ "kid": "k", "kty": "oct", "k": "c2VjcmV0" }), Algorithm::Rs256), 0);
    }

    #[test]
    fn one_strange_key_does_not_spoil_the_others_and_a_broken_document_is_an_error() {
        let document = json!({ "keys": [17, { "kid": "other", "kty": "?" }, ed25519()] }).to_string();
        assert!(parse(document.as_bytes(), &[Algorithm::EdDsa]).unwrap().contains_key("k"));
        assert!(parse(b"<html>", &[Algorithm::EdDsa]).is_err());
        assert!(parse(b"{}", &[Algorithm::EdDsa]).is_err());
    }
}

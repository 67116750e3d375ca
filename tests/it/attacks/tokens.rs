//! Tokens that nobody issued, that were issued to somebody or something else, or that say what they shouldn't: shown to the
//! real server, which has one answer for all of them.

use std::fs;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{store::Store as _, wire::ListTargetsRequest};
use jsonwebtoken::{EncodingKey, Header, encode, jwk::Jwk};
use rcgen::KeyPair;
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde_json::{Value, json};
use tonic::{Code, Request as Call};

use super::attacked::{Attacked, list_targets, with_token};
use crate::support::refusals::reason;

fn invalid() -> (Code, String) {
    (Code::Unauthenticated, "TOKEN_INVALID".to_owned())
}

async fn refused(attacked: &Attacked, token: &str, part: &str) {
    let call = with_token(ListTargetsRequest::default(), token);
    let error = list_targets(attacked.channel(), call).await.expect_err(part);
    assert_eq!(reason(&error), invalid(), "{token}");
    assert!(error.message().contains(part), "{part}: {}", error.message());
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test]
async fn without_a_signature_or_with_somebody_elses() {
    let attacked = Attacked::start().await;
    let claims = attacked.claims("olivia", "operations-leads");
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let token = unsigned(&json!({ "alg": alg, "typ": "JWT", "kid": "k" }), &claims);
        for signature in ["", "e30"] {
            refused(&attacked, &format!("{token}.{signature}"), "another way than is allowed").await;
        }
    }
    let stranger = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let stranger = EncodingKey::from_ed_pem(stranger.serialize_pem().as_bytes()).unwrap();
    let header = Header { kid: Some("k".into()), ..Header::new(jsonwebtoken::Algorithm::EdDSA) };
    refused(&attacked, &encode(&header, &claims, &stranger).unwrap(), "signature is wrong").await;
    // A key of the token's own.
    let own = json!({ "alg": "EdDSA", "kid": "mine", "jwk": { "kty": "OKP" }, "jku": "http://127.0.0.1:9/", "x5u": "x" });
    refused(&attacked, &format!("{}.e30", unsigned(&own, &claims)), "doesn't publish").await;
    attacked.still_serves().await;
}

/// The classic: the public RSA key, which anybody has, as the secret of an HMAC.
#[tokio::test]
async fn a_public_key_is_nobodys_secret() {
    let attacked = Attacked::start().await;
    let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
    let mut jwk =
        serde_json::to_value(Jwk::from_encoding_key(&private, jsonwebtoken::Algorithm::RS256).unwrap())
            .unwrap();
    jwk["kid"] = "rsa".into();
    jwk["alg"] = "RS256".into();
    fs::write(attacked.dir.join("keys.json"), json!({ "keys": [jwk] }).to_string()).unwrap();
    let claims = attacked.claims("olivia", "operations-leads");
    let header = Header { kid: Some("rsa".into()), ..Header::new(jsonwebtoken::Algorithm::RS256) };
    let good = with_token(ListTargetsRequest::default(), &encode(&header, &claims, &private).unwrap());
    assert_eq!(list_targets(attacked.channel(), good).await.unwrap(), 2, "RS256 itself is allowed here");
    let public_pem = pair.public_key_pem();
    let public_der = SubjectPublicKeyInfoDer::from_pem_slice(public_pem.as_bytes()).unwrap();
    for secret in [public_pem.as_bytes(), public_pem.trim().as_bytes(), &public_der, pair.public_key_raw()] {
        for alg in ["HS256", "RS256"] {
            let token = unsigned(&json!({ "alg": alg, "typ": "JWT", "kid": "rsa" }), &claims);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), token.as_bytes());
            let part = if alg == "HS256" { "another way than is allowed" } else { "signature is wrong" };
            refused(&attacked, &format!("{token}.{}", URL_SAFE_NO_PAD.encode(tag)), part).await;
        }
    }
}

#[tokio::test]
async fn with_claims_that_are_wrong_missing_or_of_another_type() {
    let attacked = Attacked::start().await;
    let now = attacked.now().timestamp();
    for (claim, value, part) in [
        ("iss", json!("https://evil.test"), "issuer that isn't trusted"),
        ("iss", json!([super::attacked::ISSUER]), "issuer that isn't trusted"),
        ("iss", Value::Null, "issuer that isn't trusted"),
        ("aud", json!("another"), "another audience"),
        ("aud", json!(["hallpass", "another"]), "another audience"),
        ("aud", Value::Null, "another audience"),
        ("exp", json!(now), "is expired"),
        ("exp", json!(now - 1), "is expired"),
        ("exp", json!("4000000000"), "exp isn't a time"),
        ("exp", json!(true), "exp isn't a time"),
        ("exp", json!(1e300), "exp isn't a time"),
        ("exp", Value::Null, "exp is"),
        ("nbf", json!(now + 60), "isn't valid yet"),
        ("nbf", json!(now.to_string()), "nbf isn't a time"),
        ("iat", json!(now + 60), "isn't valid yet"),
        ("iat", json!(now.to_string()), "iat isn't a time"),
        ("groups", Value::Null, "groups is missing"),
        ("groups", json!("operations-leads"), "groups isn't a list"),
        ("groups", json!([1]), "groups isn't a list"),
        ("sub", json!(""), "sub isn't one short line"),
        ("sub", json!("a\nb"), "sub isn't one short line"),
        ("name", json!({ "a": 1 }), "name isn't one short line"),
    ] {
        let mut claims = attacked.claims("olivia", "operations-leads");
        claims[claim] = value;
        refused(&attacked, &attacked.sign(&claims), part).await;
        if claims[claim].is_null() {
            claims.as_object_mut().unwrap().remove(claim);
            let part = if claim == "exp" { "exp is missing" } else { part };
            refused(&attacked, &attacked.sign(&claims), part).await;
        }
    }
    refused(&attacked, &"x".repeat(9 * 1024), "too long").await;
    attacked.still_serves().await;
}

#[tokio::test]
async fn two_authorization_headers_are_one_too_many() {
    let attacked = Attacked::start().await;
    let token = attacked.token("alice", "developers");
    for second in [format!("Bearer {token}"), "Bearer x".to_owned(), "Basic eDp5".to_owned()] {
        let mut call = with_token(ListTargetsRequest::default(), &token);
        call.metadata_mut().append("authorization", second.parse().unwrap());
        let error = list_targets(attacked.channel(), call).await.unwrap_err();
        assert_eq!(reason(&error), invalid());
        assert!(error.message().contains("more than one authorization header"));
    }
}

/// Each unknown key id would be a fetch, a signature and a line in the log: neither is anybody's to ask for without end.
#[tokio::test]
async fn a_flood_of_unknown_keys_drowns_nobody_else() {
    let attacked = Attacked::start().await;
    let claims = attacked.claims("olivia", "operations-leads");
    let channel = attacked.channel();
    let mut told = Vec::new();
    for number in 0..400 {
        let token =
            format!("{}.e30", unsigned(&json!({ "alg": "EdDSA", "kid": format!("kid-{number}") }), &claims));
        let call = with_token(ListTargetsRequest::default(), &token);
        told.push(reason(&list_targets(channel.clone(), call).await.unwrap_err()).1);
    }
    let (looked_at, rest) = told.split_at(300);
    assert!(looked_at.iter().all(|reason| reason == "TOKEN_INVALID"));
    assert!(
        rest.iter().all(|reason| reason == "TOO_MANY"),
        "then the peer's tokens aren't looked at any more"
    );
    let last = attacked.sim.store.last_sequence().await.unwrap();
    assert_eq!(last, 10, "and few of them are recorded");
    let call = attacked.alice(ListTargetsRequest::default());
    let error = list_targets(channel.clone(), call).await.unwrap_err();
    assert_eq!(reason(&error), (Code::ResourceExhausted, "TOO_MANY".to_owned()), "good or not");
    let elsewhere = attacked.channel_from("127.0.0.2");
    let call = attacked.alice(ListTargetsRequest::default());
    assert_eq!(list_targets(elsewhere, call).await.unwrap(), 2, "another peer isn't meant");
    assert_eq!(
        list_targets(attacked.channel_of_socket(), Call::new(ListTargetsRequest::default())).await.unwrap(),
        2
    );
    attacked.sim.clock.advance(chrono::TimeDelta::seconds(1));
    attacked.still_serves().await;
}

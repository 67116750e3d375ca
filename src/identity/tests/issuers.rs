//! What is trusted of an issuer, and of several: whose keys and groups count for whom, where keys come from, where claims
//! stand, and who is one person.

use super::*;

/// Two issuers, each with a person of the same id.
async fn two_issuers() -> (Setup, Issuer, Signer, Verifier) {
    let setup = Setup::new().await;
    let signer = Signer::new("k1", Algorithm::Rs256);
    let other = Issuer::start(&[&signer]).await;
    let corp = Settings {
        name: "corp".into(),
        issuer: "https://corp.test".into(),
        audience: "hallpass-at-corp".into(),
        ..settings(Algorithm::Rs256, KeySource::Url(other.keys_url.clone()))
    };
    let vault = settings(Algorithm::EdDsa, KeySource::Url(setup.issuer.keys_url.clone()));
    let verifier = verifier(vec![vault, corp], &setup.clock);
    (setup, other, signer, verifier)
}

#[tokio::test]
async fn each_issuer_speaks_for_its_own_people_only() {
    let (setup, _other, corp, verifier) = two_issuers().await;
    let mut claims = setup.claims();
    let of_vault = verifier.verify(&setup.signer.sign(&claims)).await.unwrap();
    assert_eq!(of_vault.caller.person.subject, "vault:entity-1");
    // Another issuer's key, algorithm or audience, under this issuer's name.
    assert_eq!(verifier.verify(&corp.sign(&claims)).await, Err(IdentityError::Algorithm));
    claims["iss"] = json!("https://corp.test");
    assert_eq!(verifier.verify(&setup.signer.sign(&claims)).await, Err(IdentityError::Algorithm));
    assert_eq!(verifier.verify(&corp.sign(&claims)).await, Err(IdentityError::Audience));
    claims["aud"] = json!("hallpass-at-corp");
    let of_corp = verifier.verify(&corp.sign(&claims)).await.unwrap();
    assert_eq!(of_corp.caller.person.subject, "corp:entity-1", "the same id is another person's there");
    let forger = Signer::new("k1", Algorithm::Rs256);
    assert_eq!(verifier.verify(&forger.sign(&claims)).await, Err(IdentityError::Signature));
}

/// Whoever rules over one issuer could otherwise make himself anything by the name of a group.
#[tokio::test]
async fn an_issuers_word_counts_for_the_groups_that_it_may_speak_of() {
    let setup = Setup::new().await;
    let some = Settings {
        groups: Some(["dev".to_owned(), "qa".to_owned()].into()),
        ..settings(Algorithm::EdDsa, KeySource::Url(setup.issuer.keys_url.clone()))
    };
    let verifier = verifier(vec![some], &setup.clock);
    let caller = verifier.verify(&setup.signer.sign(&setup.claims())).await.unwrap().caller;
    assert_eq!(caller.groups, ["dev".to_owned()].into(), "ops is not for it to give");
}

#[tokio::test]
async fn one_issuer_that_is_away_keeps_nobody_else_out() {
    let (setup, other, corp, verifier) = two_issuers().await;
    other.answers(503, "");
    let mut claims = setup.claims();
    assert!(verifier.verify(&setup.signer.sign(&claims)).await.is_ok());
    claims["iss"] = json!("https://corp.test");
    assert_eq!(verifier.verify(&corp.sign(&claims)).await, Err(IdentityError::KeysUnavailable));
}

#[tokio::test]
async fn several_algorithms_can_be_allowed_and_a_key_is_for_one_of_them() {
    let setup = Setup::new().await;
    let other = Signer::new("k2", Algorithm::Es256);
    setup.issuer.publish(&[&setup.signer, &other]);
    let both = Settings {
        algorithms: vec![Algorithm::EdDsa, Algorithm::Es256],
        ..settings(Algorithm::EdDsa, KeySource::Url(setup.issuer.keys_url.clone()))
    };
    let verifier = verifier(vec![both], &setup.clock);
    assert!(verifier.verify(&setup.signer.sign(&setup.claims())).await.is_ok());
    assert!(verifier.verify(&other.sign(&setup.claims())).await.is_ok());
    // A header that names the one key and the other's algorithm.
    let crossed = Signer { kid: "k1", ..other };
    assert_eq!(verifier.verify(&crossed.sign(&setup.claims())).await, Err(IdentityError::UnknownKey));
}

#[tokio::test]
async fn keys_are_found_by_discovery() {
    let setup = Setup::new().await;
    let discovery = Issuer::start(&[]).await;
    let document =
        |issuer: &str, jwks_uri: &str| json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string();
    let source = KeySource::Discovery(discovery.keys_url.clone());
    let verifier = verifier(vec![settings(Algorithm::EdDsa, source)], &setup.clock);
    let token = setup.signer.sign(&setup.claims_but("exp", json!(setup.now() + 86_400)));
    let keys_url = setup.issuer.keys_url.as_str();
    for bad in [
        document("https://vault.test/v1/identity/oidc/", keys_url),
        document(ISSUER, "http://keys.test/keys"),
        document(ISSUER, "file:///etc/passwd"),
        json!({ "issuer": ISSUER }).to_string(),
        "<html>".to_owned(),
    ] {
        discovery.answers(200, &bad);
        assert_eq!(verifier.verify(&token).await, Err(IdentityError::KeysUnavailable), "{bad}");
        setup.clock.advance(TimeDelta::seconds(10));
    }
    assert_eq!(setup.issuer.asked(), 0);
    discovery.answers(200, &document(ISSUER, keys_url));
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(setup.issuer.asked(), 1);
}

#[tokio::test]
async fn keys_from_a_file_are_read_again_and_outlive_it_for_an_hour() {
    let setup = Setup::new().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    let write =
        |signer: &Signer| std::fs::write(&file, json!({ "keys": [signer.public] }).to_string()).unwrap();
    write(&setup.signer);
    let verifier = verifier(vec![settings(Algorithm::EdDsa, KeySource::File(file.clone()))], &setup.clock);
    let claims = setup.claims_but("exp", json!(setup.now() + 86_400));
    assert!(verifier.verify(&setup.signer.sign(&claims)).await.is_ok());
    let next = Signer::new("k2", Algorithm::EdDsa);
    write(&next);
    setup.clock.advance(TimeDelta::minutes(10));
    assert!(verifier.verify(&next.sign(&claims)).await.is_ok());
    assert_eq!(verifier.verify(&setup.signer.sign(&claims)).await, Err(IdentityError::UnknownKey));
    std::fs::remove_file(&file).unwrap();
    setup.clock.advance(TimeDelta::minutes(59));
    assert!(verifier.verify(&next.sign(&claims)).await.is_ok());
    setup.clock.advance(TimeDelta::minutes(1));
    assert_eq!(verifier.verify(&next.sign(&claims)).await, Err(IdentityError::KeysUnavailable));
    assert_eq!(setup.issuer.asked(), 0);
}

/// A reload while the issuer is down locks out nobody whom the daemon knew how to check, and trusts no key for longer.
#[tokio::test]
async fn keys_outlive_a_change_of_what_is_trusted_beside_them() {
    let setup = Setup::new().await;
    let claims = setup.claims_but("exp", json!(setup.now() + 86_400));
    assert!(setup.verify(&claims).await.is_ok());
    setup.issuer.answers(503, "");
    let url = || KeySource::Url(setup.issuer.keys_url.clone());
    let renewed = |settings: Settings| setup.verifier.renewed(vec![settings], Persons::default()).unwrap();
    let same = Settings { name: "safe".into(), ..settings(Algorithm::EdDsa, url()) };
    let next = renewed(same.clone());
    let verified = next.verify(&setup.signer.sign(&claims)).await.unwrap();
    assert_eq!(verified.caller.person.subject, "safe:entity-1", "by the new settings");
    let elsewhere = Url::parse("http://127.0.0.1:9/keys").unwrap();
    for other in [
        Settings { issuer: "https://other.test".into(), ..same.clone() },
        Settings { algorithms: vec![Algorithm::Es256], ..same.clone() },
        Settings { keys: KeySource::Url(elsewhere), ..same.clone() },
    ] {
        let issuer = other.issuer.clone();
        let mut claims = claims.clone();
        claims["iss"] = json!(issuer);
        let refused = renewed(other).verify(&setup.signer.sign(&claims)).await;
        assert!(refused.is_err(), "nothing is known of {issuer}'s keys there");
    }
    setup.clock.advance(TimeDelta::minutes(61));
    let too_old = renewed(same).verify(&setup.signer.sign(&claims)).await;
    assert_eq!(too_old, Err(IdentityError::KeysUnavailable));
}

/// What Keycloak and Entra write where Vault's template has `name` and `groups`.
#[tokio::test]
async fn claims_are_found_where_the_configuration_says() {
    let setup = Setup::new().await;
    let path = |names: &[&str]| ClaimPath::new(names.iter().map(ToString::to_string).collect()).unwrap();
    let elsewhere = Settings {
        claims: ClaimPaths {
            subject: path(&["oid"]),
            name: path(&["preferred_username"]),
            groups: path(&["resource_access", "https://hallpass.test", "roles"]),
        },
        ..settings(Algorithm::EdDsa, KeySource::Url(setup.issuer.keys_url.clone()))
    };
    let verifier = verifier(vec![elsewhere], &setup.clock);
    let mut claims = setup.claims();
    claims["oid"] = json!("o-1");
    claims["preferred_username"] = json!("dana@corp.test");
    claims["resource_access"] = json!({ "https://hallpass.test": { "roles": ["dev"] } });
    let caller = verifier.verify(&setup.signer.sign(&claims)).await.unwrap().caller;
    assert_eq!(
        (caller.person.subject.as_str(), caller.person.name.as_str()),
        ("vault:o-1", "dana@corp.test")
    );
    assert_eq!(caller.groups, [String::from("dev")].into(), "and not those of the usual claim");
    for broken in [json!({}), json!("dev"), json!({ "https://hallpass.test": null }), json!(["dev"])] {
        claims["resource_access"] = broken.clone();
        let error = verifier.verify(&setup.signer.sign(&claims)).await.unwrap_err();
        assert!(
            matches!(&error, IdentityError::Claims(text) if text.contains("roles is missing")),
            "{error}"
        );
    }
}

/// A token that says two things under one name would be read differently by different readers.
#[tokio::test]
async fn a_claim_that_comes_twice_is_refused() {
    let setup = Setup::new().await;
    let claims = setup.claims().to_string();
    let twice = claims.replacen('{', r#"{"groups":["root"],"#, 1);
    let header = json!({ "alg": "EdDSA", "kid": "k1" }).to_string();
    let signed = [header, twice].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &setup.signer.private, jsonwebtoken::Algorithm::EdDSA);
    let token = format!("{signed}.{}", signature.unwrap());
    let malformed = IdentityError::Malformed("its claims are broken");
    assert_eq!(setup.verifier.verify(&token).await, Err(malformed));
}

#[tokio::test]
async fn a_person_has_one_subject_whichever_way_he_comes_in() {
    let (setup, other, corp, _) = two_issuers().await;
    let mut persons = Persons::default();
    assert!(persons.add("dana", "vault:entity-1") && persons.add("dana", "corp:00u1"));
    let vault = settings(Algorithm::EdDsa, KeySource::Url(setup.issuer.keys_url.clone()));
    let of_corp = Settings {
        name: "corp".into(),
        issuer: "https://corp.test".into(),
        ..settings(Algorithm::Rs256, KeySource::Url(other.keys_url.clone()))
    };
    let clock = Arc::clone(&setup.clock) as Arc<dyn Clock>;
    let verifier = Verifier::new(vec![vault, of_corp], persons, clock).unwrap();
    let mut claims = setup.claims();
    let by_vault = verifier.verify(&setup.signer.sign(&claims)).await.unwrap().caller.person;
    claims["iss"] = json!("https://corp.test");
    claims["sub"] = json!("00u1");
    claims["name"] = json!("Dana Scully");
    let by_corp = verifier.verify(&corp.sign(&claims)).await.unwrap().caller.person;
    assert_eq!((by_vault.subject.as_str(), by_corp.subject.as_str()), ("person:dana", "person:dana"));
    assert!(by_vault.is(&by_corp) && by_vault.owns(&by_corp));
    claims["sub"] = json!("00u2");
    let somebody = verifier.verify(&corp.sign(&claims)).await.unwrap().caller.person;
    assert_eq!(somebody.subject, "corp:00u2");
}

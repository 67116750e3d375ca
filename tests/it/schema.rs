//! The JSON schema of the configuration: that it says what the reader reads, and nothing else.

use std::{collections::BTreeMap, fs, process::Command};

use hallpass::config;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::config::{DOCUMENTATION, Place, SAMPLE, with_commented_keys};

const COMMITTED: &str = include_str!("../../deploy/hallpassd.schema.json");
const DEMO: &str = include_str!("../../deploy/demo/run");

fn validator() -> Validator {
    let schema = config::schema();
    assert!(jsonschema::meta::is_valid(&schema), "it is a schema itself");
    jsonschema::draft202012::new(&schema).unwrap()
}

fn json(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

#[track_caller]
fn is_good(text: &str) {
    let instance = json(text);
    let problems: Vec<String> = validator()
        .iter_errors(&instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(problems, [""; 0]);
}

#[test]
fn the_committed_copy_is_what_hallpassd_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_hallpassd")).arg("schema").output().unwrap();
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed == COMMITTED, "run: cargo run --bin hallpassd -- schema > deploy/hallpassd.schema.json");
    assert!(SAMPLE.starts_with("#:schema ./hallpassd.schema.json\n"), "editors look there");
}

#[test]
fn the_sample_and_the_demos_configuration_are_good() {
    is_good(SAMPLE);
    is_good(&with_commented_keys());
    let (_, demo) = DEMO.split_once("<< TOML\n").unwrap();
    let (demo, _) = demo.split_once("\nTOML\n").unwrap();
    let mut text = String::new();
    for line in demo.lines() {
        let line = match line.split_once("$(") {
            Some((before, _)) => format!("{before}something\""),
            None => line.replace("$VAULT_ADDR", "http://127.0.0.1:8200").replace("$dir", "/tmp/demo"),
        };
        text.extend([&line.replace("$port", "7643"), "\n"]);
    }
    assert!(!text.contains('$'), "{text}");
    is_good(&text);
}

/// Every place of the schema, by its path as the documentation has it.
fn places(schema: &Value, above: &str, found: &mut BTreeMap<String, Value>) {
    if schema.get("properties").or(schema.get("patternProperties")).is_none() {
        found.insert(above.to_owned(), schema.clone());
        return;
    }
    assert_eq!(schema["additionalProperties"], json!(false), "{above}");
    let below = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        places(property, &below(name), found);
    }
    for property in schema["patternProperties"].as_object().into_iter().flat_map(Map::values) {
        places(property, &below("<name>"), found);
    }
}

fn keys_of_schema() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    places(&config::schema(), "", &mut found);
    found
}

#[test]
fn it_has_every_key_and_no_other_and_says_what_each_means() {
    let in_schema = keys_of_schema();
    assert_eq!(in_schema.keys().cloned().collect::<std::collections::BTreeSet<_>>(), crate::config::keys());
    for (path, key) in in_schema {
        assert!(key["description"].as_str().is_some_and(|text| text.len() > 10), "{path}");
        assert!(key.get("type").or(key.get("enum")).or(key.get("anyOf")).is_some(), "{path}: {key}");
    }
}

/// Whether a key has to be there, by the schema.
fn is_required(path: &str) -> bool {
    let mut place = config::schema();
    let (above, name) = path.rsplit_once('.').unwrap();
    for part in above.split('.') {
        place = match part {
            "<name>" => place["patternProperties"].as_object().unwrap().values().next().unwrap().clone(),
            part => place["properties"][part].clone(),
        };
    }
    place["required"].as_array().is_some_and(|required| required.contains(&json!(name)))
}

/// The third cell of each row is the default: as the file would say it, `required`, or words.
#[test]
fn the_documentation_says_the_same_of_defaults() {
    for (path, key) in keys_of_schema() {
        let row = DOCUMENTATION.lines().find(|line| line.starts_with(&format!("| `{path}` |"))).unwrap();
        let cell = row.split(" | ").nth(2).unwrap();
        assert_eq!(is_required(&path), cell == "required", "{path}");
        let quoted = cell.strip_prefix('`').and_then(|rest| rest.split('`').next());
        let said = quoted.and_then(|quoted| toml::from_str::<Value>(&format!("value = {quoted}")).ok());
        assert_eq!(key.get("default"), said.as_ref().map(|said| &said["value"]), "{path}: {cell}");
    }
}

/// What may stand where something else should.
fn strange() -> Vec<Value> {
    let values = [
        json!(0),
        json!(1),
        json!(2000),
        json!(-1),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!([1]),
    ];
    let texts = [
        "",
        "x",
        " x ",
        "1h",
        "-1h",
        "a/b",
        "/a",
        "a:b",
        "https://a.example/b",
        "ftp://a",
        "credential:a/b",
        "*",
    ];
    let lists = [json!([""]), json!(["x"]), json!(["a:b"]), json!(["EdDSA"]), json!({ "a": 1 })];
    let long = json!("x".repeat(9000));
    values.into_iter().chain(texts.map(Value::from)).chain(lists).chain([long]).collect()
}

/// The same file with one place changed: to another value, or none.
fn changed(whole: &Value, path: &str, value: Option<&Value>) -> Value {
    let mut whole = whole.clone();
    let (above, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut place = &mut whole;
    for part in above.split('.').filter(|part| !part.is_empty()) {
        place = match part {
            "<name>" => place.as_object_mut().unwrap().values_mut().next().unwrap(),
            part => &mut place[part],
        };
    }
    let table = place.as_object_mut().unwrap();
    match value {
        Some(value) => drop(table.insert(name.to_owned(), value.clone())),
        None => drop(table.remove(name)),
    }
    whole
}

/// Each key with each strange value, each section with a key too many, and each key left out: whatever the schema refuses,
/// the reader refuses. So the schema can't be stricter than the reader.
#[test]
fn what_the_schema_refuses_the_reader_refuses() {
    let (validator, place) = (validator(), Place::new());
    let whole = json(&with_commented_keys());
    let keys = keys_of_schema();
    let mut cases = vec![changed(&whole, "unknown", Some(&json!(1)))];
    for path in keys.keys() {
        let (section, _) = path.rsplit_once('.').unwrap();
        cases.push(changed(&whole, &format!("{section}.unknown"), Some(&json!("x"))));
        cases.push(changed(&whole, path, None));
        cases.extend(strange().iter().map(|value| changed(&whole, path, Some(value))));
    }
    for path in ["targets", "identity.oidc", "identity.persons"] {
        for name in ["A", "1", "a_b", "", "a.b"] {
            let some = json!({ "identities": ["vault:1"] });
            cases.push(changed(&whole, path, Some(&json!({ name: some }))));
        }
    }
    let mut refused = 0;
    for case in cases.iter().filter(|case| !validator.is_valid(case)) {
        refused += 1;
        let text = toml::to_string(case).unwrap();
        assert!(place.load(&text).is_err(), "the schema refuses this and the reader doesn't:\n{text}");
    }
    assert!(refused * 2 > cases.len(), "{refused} of {}: it refuses hardly anything", cases.len());
}

/// The way that an editor goes: wrong types, unknown keys and missing ones are seen by the schema alone.
#[test]
fn an_editor_sees_what_is_plainly_wrong() {
    let validator = validator();
    let whole = json(&with_commented_keys());
    let wrong = [
        ("targets.orders-ro.window_max", Some(json!(8))),
        ("targets.orders-ro.approvals_required", Some(json!(11))),
        ("targets.orders-ro.early_revocation", Some(json!("ends"))),
        ("targets.orders-ro.reqesters", Some(json!([]))),
        ("targets.orders-ro.requesters", None),
        ("vault.address", Some(json!("vault.example"))),
        ("vault.secret_id_file", Some(json!("secret"))),
        ("server.listen", Some(json!("localhost:7643"))),
        ("roles.operators", Some(json!("platform"))),
        ("roles", None),
        ("stor", Some(json!({}))),
    ];
    for (path, value) in wrong {
        assert!(!validator.is_valid(&changed(&whole, path, value.as_ref())), "{path} = {value:?}");
    }
    assert!(validator.is_valid(&whole));
    assert!(fs::metadata("deploy/hallpassd.schema.json").is_ok());
}

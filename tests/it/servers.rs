//! The servers that other tests rely on do what those tests take for granted.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::servers::{Bao, Postgres, eventually, openbao, postgres};

#[tokio::test]
async fn openbao_is_shared_and_obeys_the_root_token() {
    let bao = openbao();
    bao.write("secret/data/servers", json!({ "data": { "colour": "green" } })).await;
    assert_eq!(openbao().read("secret/data/servers").await["data"]["data"]["colour"], "green");
    assert_eq!(bao.list("secret/metadata/").await["data"]["keys"], json!(["servers"]));
    bao.delete("secret/metadata/servers").await;
    assert_eq!(bao.read("secret/data/servers").await, Value::Null);
    let (status, _) = bao.call("wrong", Method::GET, "secret/data/servers", None).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn postgres_is_shared_and_asks_for_the_password() {
    let client = postgres().connect_as_superuser("postgres").await;
    let version: i32 = client.query_one("SELECT 1", &[]).await.unwrap().get(0);
    assert_eq!(version, 1);
    let refused = postgres().connect(postgres().superuser, "wrong", "postgres").await;
    assert_eq!(refused.err().unwrap().code().unwrap().code(), "28P01", "invalid_password");
}

#[tokio::test]
async fn a_private_openbao_keeps_its_data_over_a_crash() {
    let bao = Bao::start_private().await;
    bao.write("sys/mounts/kv", json!({ "type": "kv" })).await;
    bao.write("kv/kept", json!({ "colour": "green" })).await;
    bao.stop();
    bao.start_sealed();
    let (status, _) = bao.call(&bao.root_token, Method::GET, "kv/kept", None).await;
    assert_eq!(status, 503, "sealed");
    bao.unseal().await;
    assert_eq!(bao.read("kv/kept").await["data"]["colour"], "green");
    bao.stop();
    bao.start().await;
    assert_eq!(bao.read("kv/kept").await["data"]["colour"], "green");
}

#[tokio::test]
async fn a_private_postgres_keeps_its_data_and_ends_sessions() {
    let postgres = Postgres::start_private();
    let client = postgres.connect_as_superuser("postgres").await;
    client.batch_execute("CREATE TABLE kept AS SELECT 7 AS seven").await.unwrap();
    postgres.stop();
    eventually("the session has ended", async || client.is_closed()).await;
    assert!(postgres.connect(postgres.superuser, postgres.password, "postgres").await.is_err());
    postgres.start();
    let client = postgres.connect_as_superuser("postgres").await;
    let seven: i32 = client.query_one("SELECT seven FROM kept", &[]).await.unwrap().get(0);
    assert_eq!(seven, 7);
}

//! A backend that signs with a key of its own, of which the server has the public half; and what its tokens must say.

use chat_server::{
    auth::{Demands, Key, Tokens},
    protocol::{UserId, Username},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::common::{TestServer, http, now};

macro_rules! pem {
    ($name:literal) => {
        include_bytes!(concat!("keys/", $name, ".pem")).as_slice()
    };
}

fn claims() -> Value {
    json!({"user_id": 7, "username": "ann", "exp": now() + 60})
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).unwrap()
}

/// Each algorithm with its key pair, and one more encoding of a public key.
fn pairs() -> [(Algorithm, EncodingKey, &'static [u8]); 4] {
    let rsa = || EncodingKey::from_rsa_pem(pem!("rsa")).unwrap();
    let p256 = EncodingKey::from_ec_pem(pem!("p256")).unwrap();
    let ed = EncodingKey::from_ed_pem(pem!("ed25519")).unwrap();
    [
        (Algorithm::RS256, rsa(), pem!("rsa.pub")),
        (Algorithm::RS256, rsa(), pem!("rsa.pkcs1")),
        (Algorithm::ES256, p256, pem!("p256.pub")),
        (Algorithm::EdDSA, ed, pem!("ed25519.pub")),
    ]
}

async fn server_with(public: &[u8], demands: Demands) -> TestServer {
    TestServer::with(|config| {
        config.secret = None;
        config.public_key = Some(public.to_vec());
        config.demands = demands;
    })
    .await
}

async fn refusal(server: &TestServer, token: &str) -> String {
    let me = http::me(server.address, token).await;
    assert_eq!(me.status, 401, "{}", me.body);
    me.json()["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_come_in_by_the_public_key_of_the_backend_and_by_no_other_algorithm() {
    for (algorithm, key, public) in pairs() {
        let server = server_with(public, Demands::default()).await;
        let good = signed(algorithm, &key, &claims());
        let me = http::me(server.address, &good).await;
        assert_eq!((me.status, &me.json()["user"]["id"]), (200, &json!(7)));
        // Whoever knows the public key must not be able to use it as a secret.
        let confused = signed(
            Algorithm::HS256,
            &EncodingKey::from_secret(public),
            &claims(),
        );
        let told = refusal(&server, &confused).await;
        assert!(told.contains("\"HS256\""), "{told}");
        let ours = format!("{algorithm:?} only");
        assert!(told.contains(&ours), "{told}");
        for (other, key, _) in pairs() {
            let told = match other == algorithm {
                true => continue,
                false => refusal(&server, &signed(other, &key, &claims())).await,
            };
            assert!(told.contains(&ours), "{told}");
        }
        // The right algorithm, and the signature of something else.
        let mut other = claims();
        other["user_id"] = json!(8);
        let other = signed(algorithm, &key, &other);
        let (head, _) = good.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        let told = refusal(&server, &format!("{head}.{signature}")).await;
        assert!(told.contains("does not match --jwt-public-key"), "{told}");
        let mut late = claims();
        late["exp"] = json!(now() - 60);
        let told = refusal(&server, &signed(algorithm, &key, &late)).await;
        assert!(told.contains("expired"), "{told}");
    }
}

#[tokio::test]
async fn tokens_must_be_from_the_issuer_and_for_the_audience_that_are_set() {
    let (algorithm, key, public) = pairs().into_iter().nth(2).unwrap();
    let demands = Demands {
        issuer: Some("https://id.example".into()),
        audience: Some("chat".into()),
    };
    let server = server_with(public, demands).await;
    let with = |issuer: Value, audience: Value| {
        let mut claims = claims();
        for (name, value) in [("iss", issuer), ("aud", audience)] {
            if !value.is_null() {
                claims[name] = value;
            }
        }
        signed(algorithm, &key, &claims)
    };
    let issuer = || json!("https://id.example");
    for audience in [json!("chat"), json!(["shop", "chat"])] {
        let me = http::me(server.address, &with(issuer(), audience)).await;
        assert_eq!(me.status, 200, "{}", me.body);
    }
    for (token, words) in [
        (with(Value::Null, json!("chat")), "no iss"),
        (
            with(json!("https://id.example/"), json!("chat")),
            "another issuer",
        ),
        (
            with(json!(["https://id.example"]), json!("chat")),
            "another issuer",
        ),
        (with(issuer(), Value::Null), "no aud"),
        (with(issuer(), json!("Chat")), "another audience"),
        (with(issuer(), json!(["shop"])), "another audience"),
        (with(issuer(), json!([])), "another audience"),
        (with(issuer(), json!({"chat": 1})), "another audience"),
    ] {
        let told = refusal(&server, &token).await;
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn what_is_no_public_key_that_can_be_used_is_refused_with_the_fix() {
    for (pem, words) in [
        (pem!("rsa"), "openssl pkey"),
        (pem!("p256"), "openssl pkey"),
        (pem!("p256.cert"), "openssl x509"),
        (pem!("p384.pub"), "P-256"),
        (pem!("rsa1024.pub"), "2,048 bits"),
        (b"", "BEGIN PUBLIC KEY"),
        (
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "BEGIN PUBLIC KEY",
        ),
        (b"\xff\xfe\x00", "BEGIN PUBLIC KEY"),
    ] {
        let fault = Key::of_pem(pem, "--jwt-public-key").unwrap_err();
        assert!(fault.contains(words), "{fault}");
    }
}

#[test]
fn a_public_key_signs_nothing() {
    let tokens = Tokens::signed_elsewhere(Key::of_pem(pem!("rsa.pub"), "the key").unwrap());
    let user = UserId::new(7).unwrap();
    let refused = tokens.sign(user, &Username::cleaned("ann", user), "user", now(), 60);
    assert!(refused.unwrap_err().fix.contains("backend"));
}

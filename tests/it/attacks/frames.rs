//! HTTP/2 as no client speaks it, by hand: each connection ends, or the call alone does, and somebody else is served.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::attacked::Attacked;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A frame (RFC 9113, section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that isn't compressed (RFC 7541, section 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        // Long lengths take more bytes (section 5.1).
        let mut bytes = Vec::new();
        let mut length = text.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            length -= 127;
            while length >= 128 {
                bytes.push(u8::try_from(length % 128).unwrap() | 128);
                length /= 128;
            }
            bytes.push(u8::try_from(length).unwrap());
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

/// The headers of a call.
pub fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    usual.iter().chain(more).flat_map(|(name, value)| header(name, value)).collect()
}

/// What every connection begins with.
pub async fn begun(attacked: &Attacked) -> TcpStream {
    let mut stream = attacked.connect().await;
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream
}

/// What the server sends until it closes the connection: the kinds of its frames, and what the last GOAWAY says.
async fn until_closed(stream: &mut TcpStream) -> (Vec<u8>, Option<u32>) {
    let (mut kinds, mut error) = (Vec::new(), None);
    let reading = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length.try_into().unwrap()];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            kinds.push(head[3]);
            if head[3] == GOAWAY {
                error = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reading).await.expect("the connection is closed");
    (kinds, error)
}

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends these and is let go with one of these errors.
async fn ends(attacked: &Attacked, what: &str, bytes: Vec<u8>, errors: &[u32]) {
    let mut stream = begun(attacked).await;
    // The server may be done with it before all is written.
    let _ = stream.write_all(&bytes).await;
    let (_, error) = until_closed(&mut stream).await;
    // A peer who goes on sending may lose the last word to a reset.
    assert!(error.is_none_or(|error| errors.contains(&error)), "{what}: {error:?}");
    attacked.still_serves().await;
}

#[tokio::test]
async fn malformed_and_oversized_frames_end_the_connection() {
    let attacked = Attacked::start().await;
    let path = "/grpc.health.v1.Health/Check";
    let headers = call(path, &[]);
    let oversized = [&[0x00, 0x40, 0x01, DATA, 0], &1_u32.to_be_bytes()[..], &[0; 64]].concat();
    let huge = [&[0xff, 0xff, 0xff, HEADERS, END_HEADERS], &1_u32.to_be_bytes()[..]].concat();
    for (what, bytes, error) in [
        (
            "more than a frame may have",
            [frame(HEADERS, END_HEADERS, 1, &headers), oversized].concat(),
            FRAME_SIZE_ERROR,
        ),
        ("sixteen mebibytes of headers", huge, FRAME_SIZE_ERROR),
        ("data of no stream", frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
        ("headers of no stream", frame(HEADERS, END_HEADERS, 0, &headers), PROTOCOL_ERROR),
        ("a stream of the server's", frame(HEADERS, END_HEADERS, 2, &headers), PROTOCOL_ERROR),
        ("settings of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), FRAME_SIZE_ERROR),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL_ERROR),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7]), FRAME_SIZE_ERROR),
        ("a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), PROTOCOL_ERROR),
        (
            "a window that grows too much",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            FLOW_CONTROL_ERROR,
        ),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &headers), PROTOCOL_ERROR),
        ("headers that aren't", frame(HEADERS, END_HEADERS, 1, &[0xff; 64]), COMPRESSION_ERROR),
        (
            "something between headers and their rest",
            [frame(HEADERS, 0, 1, &headers), frame(PING, 0, 0, &[0; 8])].concat(),
            PROTOCOL_ERROR,
        ),
        ("padding that is longer than its frame", frame(DATA, 8, 1, &[200, 0]), PROTOCOL_ERROR),
    ] {
        // The library calls some that are too short or too long a protocol error in general.
        ends(&attacked, what, bytes, &[error, PROTOCOL_ERROR]).await;
    }
}

/// What is well-formed and too much.
#[tokio::test]
async fn floods_end_the_connection() {
    let attacked = Attacked::start().await;
    let headers = call("/grpc.health.v1.Health/Check", &[]);
    let resets = (0..5000_u32).flat_map(|number| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS, stream, &headers), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
            .concat()
    });
    ends(&attacked, "calls that are taken back at once", resets.collect(), &[ENHANCE_YOUR_CALM]).await;
    let continuations = (0..10_000).flat_map(|_| frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100))));
    let endless = frame(HEADERS, 0, 1, &headers).into_iter().chain(continuations).collect();
    ends(&attacked, "headers without an end", endless, &[ENHANCE_YOUR_CALM, COMPRESSION_ERROR]).await;
    let small = (0..20_000).flat_map(|_| frame(CONTINUATION, 0, 1, &[]));
    let empty = frame(HEADERS, 0, 1, &headers).into_iter().chain(small).collect();
    ends(&attacked, "headers in parts of nothing", empty, &[ENHANCE_YOUR_CALM]).await;
}

/// The first frame of headers that answers a stream, and what the trailers hold, unpacked by the library.
async fn answer(
    attacked: &Attacked,
    path: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> http::Response<String> {
    let stream = attacked.connect().await;
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let (response, mut sender) = client.send_request(request.body(()).unwrap(), false).unwrap();
    sender.send_data(bytes::Bytes::copy_from_slice(body), true).unwrap();
    let (mut head, mut body) = response.await.unwrap().into_parts();
    while let Some(data) = body.data().await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    head.headers.extend(body.trailers().await.unwrap().unwrap_or_default());
    let message = head.headers.get("grpc-message").map_or("", |text| text.to_str().unwrap()).to_owned();
    http::Response::from_parts(head, message)
}

/// A message's own five bytes may lie: about its length, and about compression.
#[tokio::test]
async fn messages_that_lie_about_themselves_are_bad_input() {
    let attacked = Attacked::start().await;
    let bearer = format!("Bearer {}", attacked.token("alice", "developers"));
    let path = "/hallpass.v1.TargetService/GetTarget";
    for (what, body, code) in [
        ("four gibibytes", &b"\x00\xff\xff\xff\xffx"[..], "3"),
        ("a byte more than there may be", b"\x00\x00\x01\x00\x01x", "3"),
        ("longer than what comes", b"\x00\x00\x00\x00\x09x", "3"),
        ("half of its own head", b"\x00\x00", "3"),
        ("no such compression", b"\x02\x00\x00\x00\x00", "3"),
        ("compressed, by nothing", b"\x01\x00\x00\x00\x00", "3"),
        ("no protobuf", b"\x00\x00\x00\x00\x03\xff\xff\xff", "3"),
        ("nothing at all", b"", "3"),
    ] {
        let answer = answer(&attacked, path, &[("authorization", &bearer)], body).await;
        assert_eq!(answer.headers()["grpc-status"], code, "{what}: {}", answer.body());
        attacked.still_serves().await;
    }
}

#[tokio::test]
async fn what_is_no_call_is_answered_as_such() {
    let attacked = Attacked::start().await;
    let bearer = format!("Bearer {}", attacked.token("alice", "developers"));
    let long = "x".repeat(20 * 1024);
    let headers =
        call("/hallpass.v1.TargetService/ListTargets", &[("authorization", &bearer), ("x-long", &long)]);
    let mut stream = begun(&attacked).await;
    let parts: Vec<_> = headers.chunks(16 * 1024).collect();
    let (first, rest) = parts.split_first().unwrap();
    stream.write_all(&frame(HEADERS, END_STREAM, 1, first)).await.unwrap();
    for (index, part) in rest.iter().enumerate() {
        let flags = if index + 1 == rest.len() { END_HEADERS } else { 0 };
        stream.write_all(&frame(CONTINUATION, flags, 1, part)).await.unwrap();
    }
    // Longer than headers may be: the stream is refused (431) or reset, and the connection goes on.
    stream.write_all(&frame(PING, 0, 0, b"are you?")).await.unwrap();
    let mut refused = false;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[2]) + 256 * usize::from(head[1])];
        stream.read_exact(&mut payload).await.unwrap();
        refused |= matches!(head[3], HEADERS | RST_STREAM);
        if (head[3], head[4]) == (PING, ACK) && payload == b"are you?" {
            break;
        }
    }
    // The answer may come behind the ping's.
    while !refused {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        refused = matches!(head[3], HEADERS | RST_STREAM);
        let mut payload = vec![0; usize::from(head[2]) + 256 * usize::from(head[1])];
        stream.read_exact(&mut payload).await.unwrap();
    }
    attacked.still_serves().await;
}

#[tokio::test]
async fn a_callers_nonsense_about_time_changes_nothing() {
    let attacked = Attacked::start().await;
    let bearer = format!("Bearer {}", attacked.token("alice", "developers"));
    let path = "/hallpass.v1.TargetService/ListTargets";
    for nonsense in ["", "-1S", "99999999H", "999999999999999999999S", "1", "S", "soon", "1S, 2S", "0x1S"] {
        let more = [("authorization", bearer.as_str()), ("grpc-timeout", nonsense)];
        let answer = answer(&attacked, path, &more, b"\x00\x00\x00\x00\x00").await;
        assert_eq!(answer.headers()["grpc-status"], "0", "{nonsense}: {}", answer.body());
    }
}

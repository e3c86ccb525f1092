//! A broker of a few bytes, for what Mosquitto never does.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Nothing here takes near as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// MQTT control packet types (MQTT 5 section 2.1.2).
pub const CONNECT: u8 = 1;
/// PUBLISH
pub const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;
/// PINGREQ
pub const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// How it behaves.
#[derive(Clone, Copy)]
pub struct Manners {
    /// The properties of CONNACK.
    pub connack: &'static [u8],
    /// The reason code of SUBACK.
    pub suback: u8,
    /// How many publishes of QoS 1 get a PUBACK.
    pub pubacks: u32,
}

/// Those of a broker that does as it should.
pub const GOOD: Manners = Manners { connack: &[], suback: 1, pubacks: u32::MAX };

/// A control packet: its type, its flags, and what follows its length.
#[derive(Debug)]
pub struct Packet {
    pub kind: u8,
    pub flags: u8,
    pub body: Vec<u8>,
}

enum Command {
    Send(Vec<u8>),
    StopReading,
}

/// One that runs. Serves one connection after the other, without TLS.
pub struct StubBroker {
    port: u16,
    commands: UnboundedSender<Command>,
    seen: UnboundedReceiver<Packet>,
    _task: JoinSet<()>,
}

impl StubBroker {
    /// Starts one on that loopback address.
    pub async fn start(address: &str, manners: Manners) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (commands, mut orders) = mpsc::unbounded_channel();
        let (report, seen) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, manners, &mut orders, &report).await;
            }
        });
        Self { port, commands, seen, _task: task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends these bytes to the client.
    pub fn send(&self, packet: Vec<u8>) {
        self.commands.send(Command::Send(packet)).ok().unwrap();
    }

    /// Leaves everything that comes in the socket from now on.
    pub fn stop_reading(&self) {
        self.commands.send(Command::StopReading).ok().unwrap();
    }

    /// The next packet of the client.
    pub async fn packet(&mut self) -> Packet {
        timeout(PATIENCE, self.seen.recv()).await.expect("a packet in time").unwrap()
    }
}

/// A PUBLISH without properties; with QoS 1 if there is a packet identifier.
pub fn publish(topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    body.push(0);
    body.extend(payload);
    packet((PUBLISH << 4) | if id.is_some() { 2 } else { 0 }, &body)
}

/// A packet of that first byte.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length > 127 {
        packet.push(u8::try_from(length & 127).unwrap() | 128);
        length >>= 7;
    }
    packet.push(u8::try_from(length).unwrap());
    packet.extend(body);
    packet
}

async fn serve(stream: TcpStream, manners: Manners, orders: &mut UnboundedReceiver<Command>, report: &UnboundedSender<Packet>) {
    stream.set_nodelay(true).unwrap();
    let (reader, mut writer) = stream.into_split();
    let (arrived, mut packets) = mpsc::unbounded_channel();
    let mut reading = JoinSet::new();
    reading.spawn(read(reader, arrived));
    let mut pubacks = manners.pubacks;
    loop {
        let sent = tokio::select! {
            command = orders.recv() => match command {
                Some(Command::Send(bytes)) => writer.write_all(&bytes).await,
                // Dropping the half that reads would not close the socket either, but the client could not tell.
                Some(Command::StopReading) => return hold(reading, writer).await,
                None => return,
            },
            packet = packets.recv() => match packet {
                Some(packet) => {
                    let answer = answer(&packet, manners, &mut pubacks);
                    let last = packet.kind == DISCONNECT;
                    let _ = report.send(packet);
                    if last {
                        return;
                    }
                    writer.write_all(&answer).await
                }
                None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Stops reading, and writes requests until the client takes no more either.
async fn hold(mut reading: JoinSet<()>, mut writer: OwnedWriteHalf) {
    reading.abort_all();
    let request = publish("oauth2/v1/client/dev1/token/json", None, &[b'{'; 1_024]);
    while writer.write_all(&request).await.is_ok() {}
}

async fn read(mut reader: OwnedReadHalf, arrived: UnboundedSender<Packet>) {
    while let Ok(first) = reader.read_u8().await {
        let (mut length, mut shift) = (0, 0);
        while let Ok(byte) = reader.read_u8().await {
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).await.is_err() {
            return;
        }
        let _ = arrived.send(Packet { kind: first >> 4, flags: first & 15, body });
    }
}

fn answer(received: &Packet, manners: Manners, pubacks: &mut u32) -> Vec<u8> {
    match received.kind {
        CONNECT => {
            let mut body = vec![0, 0, u8::try_from(manners.connack.len()).unwrap()];
            body.extend(manners.connack);
            packet(0x20, &body)
        }
        SUBSCRIBE => packet(0x90, &[received.body[0], received.body[1], 0, manners.suback]),
        PUBLISH if received.flags & 6 == 2 && *pubacks > 0 => {
            *pubacks -= 1;
            let topic = usize::from(u16::from_be_bytes([received.body[0], received.body[1]]));
            packet(PUBACK << 4, &[received.body[2 + topic], received.body[3 + topic]])
        }
        PINGREQ => packet(0xd0, &[]),
        _ => Vec::new(),
    }
}

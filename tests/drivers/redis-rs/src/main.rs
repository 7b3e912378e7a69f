//! A day in the life of redis-rs: usage `driver-redis-rs PROTOCOL HOST PORT`; with two more ports, of
//! another application and of the server, its help with scripts.

mod scripts;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Client, Commands, RedisResult, Value, cmd, pipe};

fn data(client: &Client) -> RedisResult<()> {
    let mut connection = client.get_connection()?;
    let _: () = connection.set_ex("k", "v", 100)?;
    assert_eq!(connection.get::<_, String>("k")?, "v");
    let _: () = connection.hset_multiple("h", &[("a", 1), ("b", 2)])?;
    let hash: HashMap<String, u32> = connection.hgetall("h")?;
    assert_eq!(hash.len(), 2);
    let _: () = connection.zadd_multiple("z", &[(1.0, "a"), (2.5, "b")])?;
    let scores: Vec<(String, f64)> = connection.zrange_withscores("z", 0, -1)?;
    assert_eq!(scores, [("a".to_owned(), 1.0), ("b".to_owned(), 2.5)]);
    let big = "x".repeat(2_000_000);
    let _: () = connection.set("big", &big)?;
    assert_eq!(connection.get::<_, String>("big")?, big);
    assert!(connection.incr::<_, _, i64>("k", 1).is_err());
    let mut all = pipe();
    for number in 0..2000 {
        all.set(format!("p{number}"), number).ignore().get(format!("p{number}"));
    }
    let replies: Vec<u32> = all.query(&mut connection)?;
    assert!(replies.iter().copied().eq(0..2000));
    let found: Vec<String> = connection.scan_match("p*")?.collect::<RedisResult<_>>()?;
    assert!(found.len() >= 2000);
    let add = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    assert_eq!(add.key("lua").arg(5).invoke::<i64>(&mut connection)?, 5);
    assert_eq!(add.key("lua").arg(5).invoke::<i64>(&mut connection)?, 10);
    Ok(())
}

/// Threads count with WATCH; nothing is lost.
fn optimistic(client: &Client) -> RedisResult<()> {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = client.get_connection().unwrap();
                for _ in 0..25 {
                    let _: (i64,) =
                        redis::transaction(&mut connection, &["count"], |connection, pipe| {
                            let value: Option<i64> = connection.get("count")?;
                            pipe.set("count", value.unwrap_or(0) + 1).ignore();
                            pipe.get("count").query(connection)
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(client.get_connection()?.get::<_, i64>("count")?, 100);
    Ok(())
}

/// Many tasks on one connection; every reply must be the task's own.
async fn tasks(connection: &MultiplexedConnection) {
    let work = |name: usize| {
        let mut connection = connection.clone();
        async move {
            for number in 0..200 {
                let value = format!("{name}:{number}");
                let echo: String = cmd("ECHO").arg(&value).query_async(&mut connection).await?;
                assert_eq!(echo, value);
                let (got,): (String,) = pipe()
                    .atomic()
                    .set(name, &value)
                    .ignore()
                    .get(name)
                    .query_async(&mut connection)
                    .await?;
                assert_eq!(got, value);
            }
            RedisResult::Ok(())
        }
    };
    for result in join_all((0..20).map(work)).await {
        result.unwrap();
    }
}

async fn messages(client: &Client, connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.subscribe("news").await?;
    subscriber.psubscribe("n?ws").await?;
    for number in 0..50 {
        let _: () = connection.publish("news", number).await?;
    }
    let texts = subscriber.on_message().take(100).map(|one| one.get_payload::<u32>().unwrap());
    let expected = (0..50).flat_map(|number| [number, number]);
    assert!(texts.collect::<Vec<u32>>().await.into_iter().eq(expected));
    Ok(())
}

async fn blocking(client: &Client, connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut waiting = client.get_multiplexed_async_connection().await?;
    let pop = tokio::spawn(async move { waiting.blpop::<_, Value>("queue", 5.0).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _: () = connection.rpush("queue", "job").await?;
    assert!(matches!(pop.await.unwrap()?, Value::Array(parts) if parts.len() == 2));
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> RedisResult<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [protocol, host, one, two, server] = &arguments[..] {
        let open = |port| Client::open(format!("redis://{host}:{port}/?protocol=resp{protocol}"));
        return scripts::play([open(one)?, open(two)?], &open(server)?).await;
    }
    let [protocol, host, port] = &arguments[..] else { panic!("PROTOCOL HOST PORT") };
    let client = Client::open(format!("redis://{host}:{port}/?protocol=resp{protocol}"))?;
    data(&client)?;
    optimistic(&client)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    tasks(&connection).await;
    messages(&client, &mut connection).await?;
    blocking(&client, &mut connection).await?;
    let other = Client::open(format!("redis://{host}:{port}/2?protocol=resp{protocol}"))?;
    let mut second = other.get_multiplexed_async_connection().await?;
    assert_eq!(second.get::<_, Option<String>>("k").await?, None);
    Ok(())
}

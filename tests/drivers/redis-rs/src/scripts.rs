//! `Script` of redis-rs, by two applications with the same names.

use redis::{AsyncCommands, Client, Commands, RedisResult, Script, cmd, pipe};

const ADD: &str = "local n = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('RPUSH', KEYS[1] .. ':log', n)
redis.call('SET', 'last', KEYS[1])
return {n, KEYS[1]}";

/// Deletes all scripts, as another application with the right to, or a restart of the server does.
fn flush(server: &Client) -> RedisResult<()> {
    cmd("SCRIPT").arg("FLUSH").query(&mut server.get_connection()?)
}

fn one_by_one(client: &Client, server: &Client) -> RedisResult<()> {
    let mut connection = client.get_connection()?;
    let add = Script::new(ADD);
    assert_eq!(add.key("n").arg(2).invoke::<(u32, String)>(&mut connection)?, (2, "n".to_owned()));
    flush(server)?;
    assert_eq!(add.key("n").arg(3).invoke::<(u32, String)>(&mut connection)?, (5, "n".to_owned()));
    let log: Vec<u32> = connection.lrange("n:log", 0, -1)?;
    assert_eq!(log, [2, 5]);
    assert_eq!(connection.get::<_, String>("last")?, "n");
    flush(server)?;
    assert_eq!(add.prepare_invoke().load(&mut connection)?, add.get_hash());
    Ok(())
}

fn pipelines(client: &Client, server: &Client) -> RedisResult<()> {
    let mut connection = client.get_connection()?;
    let add = Script::new(ADD);
    for atomic in [false, true] {
        flush(server)?;
        let mut all = pipe();
        if atomic {
            all.atomic();
        }
        all.load_script(&add).ignore().set("p", 1).ignore();
        all.invoke_script(add.key("p").arg(4)).get("p").invoke_script(add.key("p").arg(4));
        let replies: ((u32, String), u32, (u32, String)) = all.query(&mut connection)?;
        assert_eq!(replies, ((5, "p".to_owned()), 5, (9, "p".to_owned())));
    }
    Ok(())
}

async fn in_tasks(client: &Client, server: &Client) -> RedisResult<()> {
    let connection = client.get_multiplexed_async_connection().await?;
    let mut tasks = Vec::new();
    for number in 0..50 {
        let mut connection = connection.clone();
        if number == 25 {
            flush(server)?;
        }
        tasks.push(tokio::spawn(async move {
            Script::new(ADD).key("t").arg(1).invoke_async::<(u32, String)>(&mut connection).await
        }));
    }
    for task in tasks {
        task.await.unwrap()?;
    }
    let mut connection = connection;
    assert_eq!(connection.get::<_, u32>("t").await?, 50);
    Ok(())
}

pub async fn play(clients: [Client; 2], server: &Client) -> RedisResult<()> {
    for client in &clients {
        one_by_one(client, server)?;
        pipelines(client, server)?;
        in_tasks(client, server).await?;
    }
    let mut kept: Vec<String> = server.get_connection()?.keys("*")?;
    kept.sort();
    let names = ["last", "n", "n:log", "p", "p:log", "t", "t:log"];
    let expected =
        ["one:", "two:"].iter().flat_map(|prefix| names.map(|name| format!("{prefix}{name}")));
    assert!(kept.iter().cloned().eq(expected), "{kept:?}");
    Ok(())
}

<?php
// phpredis with its retries: writes a number and reads it again.
$directory = getenv('APP_DIRECTORY');
$note = fn ($file, $text) => file_put_contents("$directory/$file", strtr($text, "\n", ' ') . "\n", FILE_APPEND);

function connect(): Redis
{
    $redis = new Redis();
    $redis->connect('127.0.0.1', (int) getenv('REDIS_PORT'), 2.0, null, 100, 0);
    $redis->setOption(Redis::OPT_MAX_RETRIES, 10);
    $redis->setOption(Redis::OPT_BACKOFF_ALGORITHM, Redis::BACKOFF_ALGORITHM_DECORRELATED_JITTER);
    $redis->setOption(Redis::OPT_BACKOFF_BASE, 100);
    $redis->setOption(Redis::OPT_BACKOFF_CAP, 2000);
    return $redis;
}

for ($number = 0, $redis = null; ; usleep(10_000)) {
    if (file_exists("$directory/stop")) {
        continue;
    }
    $number++;
    try {
        $redis ??= connect();
        $redis->set("php:$number", $number);
        $note('accepted', (string) $number);
        if ($redis->get("php:$number") === (string) $number) {
            $note('done', (string) $number);
        }
    } catch (Throwable $problem) {
        $note('errors', get_class($problem) . ': ' . $problem->getMessage());
        $redis = null;
    }
}

<?php
// Laravel's locks, limiters and queue, with the driver that the argument names.
require_once 'Illuminate/Cache/autoload.php';
require_once 'Illuminate/Redis/autoload.php';
require_once 'Illuminate/Queue/autoload.php';

use Illuminate\Cache\RateLimiter;
use Illuminate\Cache\RedisStore;
use Illuminate\Cache\Repository;
use Illuminate\Container\Container;
use Illuminate\Queue\RedisQueue;
use Illuminate\Redis\RedisManager;

$directory = getenv('APP_DIRECTORY');
$note = fn ($file, $text) => file_put_contents("$directory/$file", strtr($text, "\n", ' ') . "\n", FILE_APPEND);
$demand = fn ($holds, $what) => $holds || throw new RuntimeException($what);

$redis = new RedisManager(new Container(), $argv[1], [
    'options' => ["prefix" => "laravel_{$argv[1]}_"],
    'default' => ['host' => '127.0.0.1', 'port' => getenv('REDIS_PORT'), 'database' => 0],
]);
$store = new RedisStore($redis, 'laravel_cache:', 'default');
$limiter = new RateLimiter(new Repository($store));
$queue = new RedisQueue($redis, 'default', 'default', 60);
$queue->setContainer(new Container());

$locks = function (int $round) use ($store, $demand) {
    $lock = $store->lock("report$round", 30);
    $demand($lock->get(), 'the lock is held by another application');
    $demand(!$store->lock("report$round", 30)->get(), 'two hold one lock');
    $demand($store->add("once$round", 'x', 30) && !$store->add("once$round", 'y', 30), 'added twice');
    $lock->release();
    $demand($store->lock("report$round", 30)->get(), 'the lock was not released');
};
$limits = function (int $round) use ($redis, $limiter, $demand) {
    $passed = 0;
    for ($try = 0; $try < 3; $try++) {
        $redis->throttle("mail$round")->block(0)->allow(2)->every(60)
            ->then(function () use (&$passed) { $passed++; }, fn () => null);
    }
    $demand($passed === 2, "$passed passed a limit of 2");
    $redis->funnel("slots$round")->block(0)->limit(1)->releaseAfter(60)->then(fn () => true);
    $redis->funnel("slots$round")->block(0)->limit(1)->releaseAfter(60)->then(fn () => true);
    $limiter->hit("login$round", 60);
    $demand((int) $limiter->attempts("login$round") === 1, 'another application\'s attempts');
};
$done = fn ($job) => $note('done', (string) json_decode($job->getRawBody())->number);
$work = function () use ($queue, $done) {
    while ($job = $queue->pop()) {
        if ($job->attempts() === 1 && json_decode($job->getRawBody())->fails) {
            $job->release(0);
        } else {
            $done($job);
            $job->delete();
        }
    }
};

[$first, $last] = [(int) getenv('FIRST_NUMBER'), (int) getenv('LAST_NUMBER')];
for ($number = $first; ; usleep(100_000)) {
    try {
        if (!file_exists("$directory/stop") && $number < $last) {
            $number++;
            $locks($number - $first);
            $limits($number - $first);
            $job = ['id' => "job$number", 'attempts' => 0, 'number' => $number, 'fails' => $number % 2];
            $queue->pushRaw(json_encode($job));
            $note('accepted', (string) $number);
        }
        $work();
    } catch (Throwable $problem) {
        $note('errors', get_class($problem) . ': ' . $problem->getMessage());
    }
}

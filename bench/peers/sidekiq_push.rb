# Push jobs in bulk, as Sidekiq's manual shows it: URL of Redis, jobs, rounds. Prints one JSON line.
require "json"
require "sidekiq"

url, jobs, rounds = ARGV[0], ARGV[1].to_i, ARGV[2].to_i
# A unix socket has another form here than in the client of Python.
match = url.match(%r{\Aunix://:(?<password>[^@]*)@(?<path>.*)\?db=\d+\z})
server = match ? { path: match[:path], password: match[:password] } : { url: url }
Sidekiq.configure_client { |config| config.redis = server }

class Job
  include Sidekiq::Worker
end

seconds = []
(rounds + 1).times do |round|
  Sidekiq.redis { |redis| redis.del("queue:default") }
  began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  (0...jobs).each_slice(1000) { |slice| Sidekiq::Client.push_bulk("class" => Job, "args" => slice.map { |id| [id, 1] }) }
  seconds << Process.clock_gettime(Process::CLOCK_MONOTONIC) - began if round > 0
end
puts JSON.generate(seconds: seconds, queued: Sidekiq.redis { |redis| redis.llen("queue:default") })

# Sidekiq: a job, and a producer when run as a program.
require "sidekiq"

DIRECTORY = ENV.fetch("APP_DIRECTORY")
FIRST = ENV.fetch("FIRST_NUMBER", "0").to_i
LAST = ENV.fetch("LAST_NUMBER", "-1").to_i
VARIED = ENV.key?("VARIED")
if VARIED
  # The driver pushes a job again when no reply comes within its 5 s, as on a machine that starts all applications.
  redis = { network_timeout: 60 }
  Sidekiq.configure_client { |config| config.redis = redis }
  Sidekiq.configure_server do |config|
    config.redis = redis
    # Jobs for later are looked for each second.
    config.options[:poll_interval_average] = 1
  end
end

def note(file, text)
  File.open(File.join(DIRECTORY, file), "a") { |out| out.puts(text.to_s.tr("\n", " ")) }
end

class Record
  include Sidekiq::Worker

  def perform(number)
    note("done", number)
  end
end

if $PROGRAM_NAME == __FILE__
  number = FIRST
  loop do
    unless File.exist?(File.join(DIRECTORY, "stop")) || number == LAST
      number += 1
      begin
        VARIED && number % 3 == 0 ? Record.perform_in(0.5, number) : Record.perform_async(number)
        note("accepted", number)
      rescue StandardError => problem
        note("errors", "#{problem.class}: #{problem.message}")
      end
    end
    sleep 0.1
  end
end

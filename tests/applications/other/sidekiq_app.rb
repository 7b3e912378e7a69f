# Sidekiq: a job, and a producer when run as a program.
require "sidekiq"

DIRECTORY = ENV.fetch("APP_DIRECTORY")

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
  number = 0
  loop do
    unless File.exist?(File.join(DIRECTORY, "stop"))
      number += 1
      begin
        Record.perform_async(number)
        note("accepted", number)
      rescue StandardError => problem
        note("errors", "#{problem.class}: #{problem.message}")
      end
    end
    sleep 0.1
  end
end

# What Open OnDemand's dashboard does with an app: the form read, submit.yml.erb and template/ rendered with a
# reader's answers, view.html.erb with a session's connection. Cases come and results go as JSON.
require "erb"
require "fileutils"
require "json"
require "ostruct"
require "pathname"
require "yaml"

def render(path, bound)
  erb = ERB.new(path.read, trim_mode: "-")
  erb.filename = path.to_s
  erb.result(bound)
end

# As the dashboard's: a template sees the answers as `context`, the submit file as methods of its own.
Staged = Struct.new(:session, :context) do
  def bound
    binding
  end
end

def stage(app, staged, answers)
  FileUtils.cp_r("#{app}/template/.", staged, preserve: true)
  Pathname.glob("#{staged}/**/*.erb").each do |file|
    text = render(file, Staged.new(nil, answers).bound)
    file.rename(file.sub_ext(""))
    file.sub_ext("").write(text)
  end
end

def run(given)
  app = Pathname.new(given.fetch("app"))
  answers = OpenStruct.new(given.fetch("answers", {}))
  result = { "form" => YAML.safe_load(app.join("form.yml").read) }
  result["manifest"] = YAML.safe_load(app.join("manifest.yml").read)
  begin
    result["submit"] = YAML.safe_load(render(app.join("submit.yml.erb"), answers.instance_eval { binding }))
  rescue StandardError => e
    result["refused"] = e.message
  end
  stage(app, given["staged"], answers) if given["staged"]
  connection = given["connection"]
  result["view"] = render(app.join("view.html.erb"), OpenStruct.new(connection).instance_eval { binding }) if connection
  result
end

puts JSON.generate(JSON.parse($stdin.read).map { |given| run(given) })

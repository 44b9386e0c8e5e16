//go:build interop

package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// buf is the version that writes examples/calculator/calculatorpb, too.
const buf = "github.com/bufbuild/buf/cmd/buf@v1.75.0"

// protocOf returns the path of protoc.
func protocOf(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("protoc")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no protoc: install protobuf-compiler")
		}
		t.Skip("there is no protoc")
	}
	return path
}

// plugins builds protoc-gen-go and ours once, and returns their folder.
var plugins = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "plugins")
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator),
		"google.golang.org/protobuf/cmd/protoc-gen-go", "github.com/seed31b3bfd0/slimgo/cmd/protoc-gen-slimrpc").CombinedOutput()
	if err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return dir, nil
})

// command runs a program in a folder, with the plugins in the path.
func command(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	bin, err := plugins()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

// The plugin run by buf gives what is in the repository, which compiles: it is built with the examples.
func TestRPCPluginByBuf(t *testing.T) {
	dir := t.TempDir()
	const folder = "../examples/calculator/calculatorpb"
	for _, name := range []string{"calculator.proto", "buf.gen.yaml"} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", buf, "generate", dir, "--template", filepath.Join(dir, "buf.gen.yaml"), "-o", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("buf: %v\n%s", err, out)
	}
	for _, name := range []string{"calculator.pb.go", "calculator_slimrpc.pb.go"} {
		sameFile(t, filepath.Join(dir, name), filepath.Join(folder, name))
	}
}

// And so does it run by protoc, but for the comment about the compiler's version in what protoc-gen-go writes.
func TestRPCPluginByProtoc(t *testing.T) {
	dir := t.TempDir()
	const folder = "../examples/calculator/calculatorpb"
	command(t, folder, protocOf(t), "--slimrpc_out="+dir, "--slimrpc_opt=paths=source_relative", "calculator.proto")
	sameFile(t, filepath.Join(dir, "calculator_slimrpc.pb.go"), filepath.Join(folder, "calculator_slimrpc.pb.go"))
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("%s is not what the plugin writes now: go generate there", want)
	}
}

// oddModule is a module beside this one, with the .proto files of peers/odd.
func oddModule(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("peers/odd")); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	_, requirements, _ := strings.Cut(string(mod), "\n") // with the versions that are there
	const own = "github.com/seed31b3bfd0/slimgo"
	text := "module example.org/odd\n" + requirements + "\nrequire " + own + " v0.0.0\n\nreplace " + own + " => " + root + "\n"
	for name, b := range map[string][]byte{"go.mod": []byte(text), "go.sum": sum} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Code of odd files compiles, and vet and the linter have nothing to say about it: files without a package, of proto2 and of editions, names that
// are keywords, or those of packages, messages and other services, nested and imported messages, optional fields, services without methods; by buf
// and by protoc, in both styles.
func TestRPCPluginOfOddFiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, option string }{
		{"buf", "paths=source_relative"}, {"buf compat", "paths=source_relative,compat=true"},
		{"protoc", "paths=source_relative"}, {"protoc compat", "paths=source_relative,compat=true"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := oddModule(t)
			if strings.HasPrefix(c.name, "buf") {
				template := "version: v2\nplugins:\n  - {local: protoc-gen-go, out: ., opt: paths=source_relative}\n" +
					"  - {local: protoc-gen-slimrpc, out: ., opt: '" + c.option + "'}\n"
				if err := os.WriteFile(filepath.Join(dir, "buf.gen.yaml"), []byte(template), 0o600); err != nil {
					t.Fatal(err)
				}
				command(t, dir, "env", "GOFLAGS=", "go", "run", buf, "generate")
			} else {
				protoc := protocOf(t)
				for _, folder := range []string{"editions", "wellknown"} { // which Debian's does not know, and does not come with
					if err := os.RemoveAll(filepath.Join(dir, folder)); err != nil {
						t.Fatal(err)
					}
				}
				files, err := filepath.Glob(filepath.Join(dir, "*", "*.proto"))
				if err != nil {
					t.Fatal(err)
				}
				argv := []string{protoc, "--proto_path=" + dir, "--go_out=.", "--go_opt=paths=source_relative", "--slimrpc_out=.", "--slimrpc_opt=" + c.option}
				command(t, dir, append(argv, files...)...)
			}
			command(t, dir, "go", "vet", "./...")
			if strings.HasPrefix(c.name, "buf") { // protoc gives the same, but for editions
				lint(t, dir)
			}
		})
	}
}

// lint runs the linter over what our plugin has written, as if somebody had.
func lint(t *testing.T, dir string) {
	t.Helper()
	linter := os.Getenv("GOLANGCI_LINT")
	if linter == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("GOLANGCI_LINT does not name the linter")
		}
		t.Log("GOLANGCI_LINT does not name the linter: it is not run")
		return
	}
	b, err := os.ReadFile("../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	const generated = "    generated: strict\n    rules:\n"
	if !bytes.Contains(b, []byte(generated)) {
		t.Fatalf(".golangci.yml has no %q", generated)
	}
	text := strings.Replace(string(b), generated, "    generated: disable\n    rules:\n      - path-except: _slimrpc\\.pb\\.go$\n        text: .\n", 1)
	text = strings.Replace(text, "-ST1000,", "-ST1000, -ST1003, -ST1019,", 1) // names with underscores, where others are taken
	config := filepath.Join(dir, "golangci.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, dir, linter, "run", "--allow-parallel-runners", "--config", config, "./...")
}

package internal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
)

// block is a fenced block of a Markdown file.
type block struct {
	language, text string
	line           int
}

func blocks(t *testing.T, file string) (all []block) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{language: strings.TrimSpace(fence), line: n}
		case isFence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line
		}
	}
	return all
}

// defaultPort is where the node of the README listens.
const defaultPort = "46357"

// shell is a bash that is given one block after the other, like the terminal of a reader.
type shell struct {
	in      io.WriteCloser
	lines   chan string // of standard output and error
	printed []string    // lines that no text block has described yet
	blocks  int
}

func startShell(t *testing.T, dir string) *shell {
	t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	s := &shell{in: in, lines: make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		for out := bufio.NewScanner(r); out.Scan(); {
			s.lines <- out.Text()
		}
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with everything it has started
		cmd.Wait()
		r.Close()
	})
	return s
}

// run runs one block and returns when it has ended and, if it starts a node, that listens.
func (s *shell) run(t *testing.T, b block, limit time.Duration) {
	t.Helper()
	s.blocks++
	ended := fmt.Sprintf("block %d ended with ", s.blocks)
	fmt.Fprintf(s.in, "%s\necho \"%s$?\"\n", b.text, ended)
	waits := map[string]bool{ended: true}
	if strings.HasSuffix(b.text, "bin/slim &\n") {
		waits["service started"] = true
	}
	timeout := time.After(limit)
	for len(waits) > 0 {
		select {
		case line, open := <-s.lines:
			if !open {
				t.Fatalf("README.md:%d: the shell has ended:\n%s", b.line, s)
			}
			for text := range waits {
				if strings.Contains(line, text) {
					delete(waits, text)
				}
			}
			if status, isEnd := strings.CutPrefix(line, ended); !isEnd {
				s.printed = append(s.printed, line)
			} else if status != "0" {
				t.Fatalf("README.md:%d: status %s:\n%s", b.line, status, s)
			}
		case <-timeout:
			t.Fatalf("README.md:%d: takes more than %v:\n%s", b.line, limit, s)
		}
	}
}

func (s *shell) String() string { return strings.Join(s.printed, "\n") }

// expect checks that the lines of a text block are printed, in any order but each for itself; "…" stands for anything.
// A node in the background may print its own after the block has ended.
func (s *shell) expect(t *testing.T, b block) {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for want := range strings.Lines(b.text) {
		parts := strings.Split(strings.TrimSpace(want), "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		i := slices.IndexFunc(s.printed, pattern.MatchString)
		for i < 0 {
			select {
			case line, open := <-s.lines:
				if !open {
					t.Fatalf("README.md:%d: not printed before the shell ended: %sbut\n%s", b.line, want, s)
				}
				if s.printed = append(s.printed, line); pattern.MatchString(line) {
					i = len(s.printed) - 1
				}
			case <-timeout:
				t.Fatalf("README.md:%d: not printed: %sbut\n%s", b.line, want, s)
			}
		}
		s.printed = slices.Delete(s.printed, i, i+1)
	}
	s.printed = nil
}

// sources is a source tree without what is not of it.
type sources struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (s sources) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(s.FS, name)
	return slices.DeleteFunc(all, func(d fs.DirEntry) bool {
		return !d.IsDir() && !d.Type().IsRegular() || slices.Contains([]string{".git", "bin", "venv", "node_modules"}, d.Name())
	}), err
}

// checkout returns a copy of this tree.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, sources{os.DirFS(root(t))}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// withoutCopies has a shell build the programs out of this tree instead of its copy in dir, whose packages nobody has compiled yet:
// the same sources, but by go run, whose programs are kept in the cache of what is built: nothing is linked before something has
// changed, and what has is linked side by side. The programs do not tell of their commit, which would be a change of all. Only the
// examples are taken from dir, where they may have been changed. With the build tag interop all is built where a reader builds it, by
// the command that stands there.
func withoutCopies(t *testing.T, dir string) {
	t.Helper()
	if withPython {
		return
	}
	program, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	copies := map[string]string{}
	for _, file := range hello(t) {
		copies[filepath.Join(root(t), file)] = filepath.Join(dir, file)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": copies})
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	write(t, filepath.Join(bin, "overlay.json"), string(overlay))
	write(t, filepath.Join(bin, "go"), fmt.Sprintf(`#!/bin/sh
set -e
[ "$1 $2" = "build -o" ] || { echo "go $*: only go build -o is expected" >&2; exit 2; }
out=$PWD/$3
shift 3
mkdir -p "$out"
cd '%s'
for pattern; do
  case $pattern in */...) set -- "${pattern%%...}"*/ ;; *) set -- "$pattern" ;; esac
  for main; do
    '%s' run -buildvcs=false -overlay '%s/overlay.json' -exec cp "$main" "$out" &
    running="$running $!"
  done
done
for one in $running; do wait "$one"; done
`, root(t), program, bin))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

// hello returns where the programs are that say hello, which the README shows whole.
func hello(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(os.DirFS(root(t)), "examples/hello/*/main.go")
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	return files
}

// hold keeps the kernel from giving a port to somebody who lets it choose: a node may listen on it, as long as the test lasts. false: it is
// taken.
func hold(t *testing.T, port string) bool {
	t.Helper()
	if runtime.GOOS != "linux" { // elsewhere nobody could listen
		return true
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // the programs get no copy of it
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	return syscall.Bind(fd, &syscall.SockaddrInet4{Port: n, Addr: [4]byte{127, 0, 0, 1}}) == nil
}

// portOfREADME returns the README's port, or another one where a node is running on it, or about to by this test of another checkout,
// after making the commands in dir use that.
func portOfREADME(t *testing.T, dir string) string {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "slimgo-readme.lock"), os.O_CREATE|os.O_RDONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	alone := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	l, err := net.Listen("tcp", "127.0.0.1:"+defaultPort)
	if err == nil {
		l.Close()
		if alone && hold(t, defaultPort) {
			return defaultPort
		}
	}
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	if !hold(t, port) {
		t.Fatalf("port %s is taken at once", port)
	}
	file := filepath.Join(dir, "elsewhere.yaml")
	write(t, file, "services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:"+port+"', tls: {insecure: true}}]}}}\n")
	for _, name := range hello(t) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := `session.Options{Nodes: []string{"127.0.0.1:` + port + `"}, `
		write(t, filepath.Join(dir, name), strings.Replace(string(b), "session.Options{", elsewhere, 1))
	}
	t.Setenv("CONFIG", file)
	return port
}

// Every block of the README is run or read, in order, in one shell, and what it shows is what is printed; those in Python with the
// build tag interop, as they install a package. Its programs take seconds to be linked.
func TestREADME(t *testing.T) {
	if !withPython && os.Getenv("SLIMGO_TEST_LONG") == "" {
		t.Skip("the README's programs are built and run with SLIMGO_TEST_LONG=1, as in CI")
	}
	dir := checkout(t)
	port := portOfREADME(t, dir)
	withoutCopies(t, dir)
	s := startShell(t, dir)
	ran, skipped := 0, false
	var shown []string // programs
	for _, b := range blocks(t, filepath.Join(root(t), "README.md")) {
		b.text = strings.ReplaceAll(b.text, defaultPort, port)
		if port != defaultPort && b.language == "sh" {
			b.text = strings.ReplaceAll(b.text, "org/demo/bob", "org/demo/bob --target 127.0.0.1:"+port)
		}
		switch b.language {
		case "sh":
			// What is cloned lies here already.
			if skipped = strings.HasPrefix(b.text, "git clone ") || !withPython && strings.Contains(b.text, "python"); !skipped {
				s.run(t, b, 5*time.Minute)
				ran++
			}
		case "text":
			if !skipped {
				s.expect(t, b)
			}
		case "yaml":
			file := filepath.Join(dir, "node.yaml")
			write(t, file, b.text)
			_, warnings, err := config.Load(file, func(name string) (string, bool) { return "value-of-" + name, true })
			if err != nil || len(warnings) > 0 {
				t.Errorf("README.md:%d: %v, %v", b.line, err, warnings)
			}
		case "go":
			shown = append(shown, b.text)
		default:
			t.Errorf("README.md:%d: nothing checks a block in %q", b.line, b.language)
		}
	}
	if want := map[bool]int{false: 5, true: 6}[withPython]; ran != want {
		t.Errorf("%d blocks ran, want %d", ran, want)
	}
	for _, file := range hello(t) {
		b, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.Index(shown, string(b)); i >= 0 {
			shown = slices.Delete(shown, i, i+1)
		} else {
			t.Errorf("%s is not shown as it is", file)
		}
		if n := strings.Count(string(b), "\n"); n > 25 {
			t.Errorf("%s has %d lines, and is to have 25 at most", file, n)
		}
	}
	if len(shown) > 0 {
		t.Errorf("a program that nobody has built: %s", shown[0])
	}
}

// From clone to the first message is one screen.
func TestREADMEComesToThePointSoon(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "git clone ")
	text, _, found := strings.Cut(text, "says: hello\n")
	if n := strings.Count(text, "\n"); !found || n > 20 {
		t.Errorf("%d lines from the clone to the first message seen", n)
	}
}

// Links of documents lead somewhere.
func TestLinksOfDocuments(t *testing.T) {
	fenced := regexp.MustCompile("(?ms)^```.*?^```$")
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	files, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"} {
		files = append(files, filepath.Join(root(t), name))
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(b), ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", filepath.Base(file), err)
			}
		}
	}
}

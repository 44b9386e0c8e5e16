//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// installTimeout bounds one pip or npm run.
const installTimeout = 3 * time.Minute

// language is a binding of the upstream core, installed once into the user's cache folder.
type language struct {
	name    string
	core    string // what its core reports as version
	install func(dir string) [][]string
	pins    string // file of peers/ that pins the packages; a change installs anew
	start   func(dir string) (argv, env []string)
}

var python = language{
	name: "python-slim-bindings-3.3.8",
	core: "3.4.6",
	pins: "requirements.txt",
	install: func(dir string) [][]string {
		return [][]string{
			{"python3", "-m", "venv", filepath.Join(dir, "venv")},
			{filepath.Join(dir, "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
				"--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", "requirements.txt"},
		}
	},
	start: func(dir string) (argv, env []string) {
		return []string{filepath.Join(dir, "venv/bin/python"), "peers/peer.py"}, nil
	},
}

var javascript = language{
	name: "node-slim-bindings-2.0.0-alpha.5",
	core: "2.0.0-alpha.10",
	pins: "package.json",
	install: func(string) [][]string {
		// The packages of all other platforms are optional dependencies that npm would fetch too.
		return [][]string{{"npm", "install", "--omit=optional", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"}}
	},
	start: func(dir string) (argv, env []string) {
		return []string{"node", "peers/peer.mjs"},
			[]string{"SLIM_BINDINGS=" + filepath.Join(dir, "node_modules/@agntcy/slim-bindings/index.js")}
	},
}

var installing sync.Mutex

// dir returns the folder of the installed binding. The marker, a copy of the pins, is written last, so that an
// interrupted installation is begun anew.
func (l *language) dir(t *testing.T) string {
	t.Helper()
	installing.Lock()
	defer installing.Unlock()
	dir, err := l.installed()
	if err != nil {
		t.Fatalf("install %s: %v", l.name, err)
	}
	return dir
}

func (l *language) installed() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root := filepath.Join(cache, "slimgo-interop")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	// Another run of the suite may be installing.
	lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	pins, err := os.ReadFile(filepath.Join("peers", l.pins))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, l.name)
	marker := filepath.Join(dir, "installed")
	if have, err := os.ReadFile(marker); err == nil && bytes.Equal(have, pins) {
		return dir, nil
	}
	if err := l.fill(dir, pins); err != nil {
		return "", err
	}
	return dir, os.WriteFile(marker, pins, 0o600)
}

func (l *language) fill(dir string, pins []byte) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, l.pins), pins, 0o600); err != nil {
		return err
	}
	for _, argv := range l.install(dir) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		timer := time.AfterFunc(installTimeout, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		out, err := cmd.CombinedOutput()
		timer.Stop()
		if err != nil {
			return fmt.Errorf("%v: %w\n%s", argv, err, out)
		}
	}
	return nil
}

// script starts an application on a language binding; it takes the commands of peers/peer.py.
func (n *node) script(t *testing.T, l *language, name string, args ...string) *app {
	t.Helper()
	return l.ready(t, n.launch(t, l, name, args...))
}

// launch is script without the wait for ready.
func (n *node) launch(t *testing.T, l *language, name string, args ...string) *process {
	t.Helper()
	argv, env := l.start(l.dir(t))
	if n.client != "" {
		argv = append(argv, "--client", n.client, "--name", name)
	} else {
		argv = append(argv, "--node", n.url(), "--name", name)
	}
	env = append(env, "SLIM_IDENTITY_BINDING="+n.binding)
	return spawn(t, fmt.Sprintf("%s %s at %s", l.name, name, n.label), env, append(argv, args...)...)
}

// ready returns when a launched application is subscribed.
func (l *language) ready(t *testing.T, p *process) *app {
	t.Helper()
	p, e := p.connected(t)
	if got := e.text("version"); got != l.core {
		t.Fatalf("%s: core %s, want %s", p.label, got, l.core)
	}
	return &app{process: p, name: e.text("name"), id: e.text("id")}
}

// Commands that name a session are not for one that another application has opened meanwhile, though it is the newest: whoever opens
// sessions, and is opened sessions to, would write into those of others, and close them.
func TestCommandsAreForTheSessionThatTheyName(t *testing.T) {
	n := startNode(t, ours)
	n.binding = "warn" // Node.js has an older core
	for _, a := range []*app{
		ready(t, "org/ns/go", n.goPeer(t, "org/ns/go")),
		n.script(t, &python, "org/ns/python"),
		n.script(t, &javascript, "org/ns/node"),
	} {
		other := n.script(t, &python, a.name+"-other")
		own := a.do(t, event{"open": other.name})["session"]
		other.expect(t, "session")
		newest := other.do(t, event{"open": a.name})["session"]
		for _, want := range []any{own, newest} {
			if e := a.expect(t, "session"); e["session"] != want {
				t.Fatalf("%s: session %v, want %v", a.label, e["session"], want)
			}
		}
		a.do(t, event{"publish": "own", "session": own})
		if e := other.expect(t, "message"); e["session"] != own {
			t.Errorf("%s: a message of session %v came in %v", a.label, own, e["session"])
		}
		a.do(t, event{"close": true, "session": own})
		if e := other.expect(t, "left"); e["session"] != own {
			t.Errorf("%s: session %v is over, want %v", a.label, e["session"], own)
		}
		other.do(t, event{"publish": "newest", "session": newest})
		a.receives(t, "newest")
	}
}

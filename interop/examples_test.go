//go:build interop

package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// examples are the example files of one origin, as a working directory has them under config/.
type examples struct {
	name   string
	dir    string // of the folders of the files
	crypto func(t *testing.T, dir string)
}

// allExamples are ours, and upstream's where SLIM_UPSTREAM_CONFIG names them.
func allExamples(t *testing.T) []examples {
	t.Helper()
	all := []examples{{"ours", "../config", scriptedCrypto}}
	dir := os.Getenv("SLIM_UPSTREAM_CONFIG")
	if dir == "" {
		t.Log("SLIM_UPSTREAM_CONFIG is not set: upstream's own example files are not run, only ours of the same names")
		return all
	}
	return append(all, examples{"upstream's", dir, bareCrypto})
}

// scriptedCrypto makes certificates and keys as users do.
func scriptedCrypto(t *testing.T, dir string) {
	t.Helper()
	script, err := os.ReadFile("../config/crypto/make.sh")
	if err != nil {
		t.Fatal(err)
	}
	certstest.Write(t, dir, map[string]string{"make.sh": string(script)})
	if out, err := exec.Command("sh", filepath.Join(dir, "make.sh")).CombinedOutput(); err != nil {
		t.Fatalf("make.sh: %v\n%s", err, out)
	}
}

// bareCrypto makes what upstream's files expect, in upstream's forms: authorities without basic constraints, and keys of
// SEC 1 that follow the parameters of their curve.
func bareCrypto(t *testing.T, dir string) {
	t.Helper()
	for _, role := range []string{"server", "client"} {
		ca, key := certstest.NewIssuer(t, role+"s", true), certstest.NewKey(t)
		certstest.Write(t, dir, map[string]string{
			role + "-ca-cert.pem": ca.PEM,
			role + "-cert.pem":    ca.Sign(certstest.Leaf(role), key),
			role + "-key.pem":     certstest.SEC1(t, key),
		})
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(dir, "jwt")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	certstest.Write(t, tokens, map[string]string{ // of PKCS #1 and SubjectPublicKeyInfo
		"rsa.pem":        string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		"rsa-public.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	})
}

// place is a working directory with example files under config/, as the root of a repository has them.
type place struct {
	dir  string
	port [2]int // in place of 46357 and 46358
}

var socketPath = regexp.MustCompile(`unix:///\S+\.sock`)

// newPlace copies the example files e. The ports of all of them and the path of the socket are those of one machine; they
// become free ones. Nothing else is changed but by edit, which may be nil.
func newPlace(t *testing.T, e examples, edit func(name, text string, port [2]int) string) *place {
	t.Helper()
	// Next to nothing: the path of a socket has 107 bytes.
	dir, err := os.MkdirTemp("", "slim") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &place{dir: dir, port: [2]int{freePort(t), freePort(t)}}
	files, err := filepath.Glob(filepath.Join(e.dir, "*", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no example files in %s: %v", e.dir, err)
	}
	replaced := []string{"46357", strconv.Itoa(p.port[0]), "46358", strconv.Itoa(p.port[1])}
	for _, port := range []string{"46359", "46360", "46361", "46362", "46363", "47357", "47358", "47359", "47360"} {
		replaced = append(replaced, port, strconv.Itoa(freePort(t)))
	}
	ports := strings.NewReplacer(replaced...)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.ToSlash(strings.TrimPrefix(file, e.dir+string(filepath.Separator)))
		text := socketPath.ReplaceAllString(ports.Replace(string(b)), "unix://"+dir+"/s")
		if edit != nil {
			text = edit(name, text, p.port)
		}
		folder := filepath.Join(dir, "config", filepath.Dir(name))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		certstest.Write(t, folder, map[string]string{filepath.Base(name): text})
	}
	if err := os.Symlink(e.material(t), filepath.Join(dir, "config", "crypto")); err != nil {
		t.Fatal(err)
	}
	return p
}

// materials are the folders of certificates and keys, by the name of the examples.
var materials sync.Map

// material returns the folder of certificates and keys of e, made once a run.
func (e *examples) material(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(scratch, "crypto of "+e.name)
	once, _ := materials.LoadOrStore(e.name, &sync.Once{})
	once.(*sync.Once).Do(func() {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		e.crypto(t, dir)
	})
	return dir
}

// run starts a node with a file, as upstream's README tells to: from the root, by a relative path.
func (p *place) run(t *testing.T, k kind, file string, env ...string) *process {
	t.Helper()
	return spawnIn(t, p.dir, fmt.Sprintf("%s node of %s", k, file), env, k.program(t), "--config", "./config/"+file)
}

// dials is run, and returns when the node has connected to another one.
func (p *place) dials(t *testing.T, k kind, file string, env ...string) *process {
	t.Helper()
	return startedUntil(t, "client connected", func() *process { return p.run(t, k, file, env...) })
}

// serve is run, and returns when the node accepts connections.
func (p *place) serve(t *testing.T, k kind, file string) *process {
	t.Helper()
	n := p.run(t, k, file, password)
	n.expectLine(t, "dataplane server started", 0)
	network, addr := "tcp", fmt.Sprintf("127.0.0.1:%d", p.port[0])
	if text, err := os.ReadFile(filepath.Join(p.dir, "config", file)); err != nil {
		t.Fatal(err)
	} else if bytes.Contains(text, []byte("unix://")) {
		network, addr = "unix", filepath.Join(p.dir, "s")
	}
	deadline := time.Now().Add(limit)
	for {
		c, err := net.DialTimeout(network, addr, limit)
		if err == nil {
			c.Close()
			return n
		}
		// Upstream announces itself a moment before it listens.
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", n.label, err)
		}
	}
}

// password is the variable that files name which want one.
const password = "PASSWORD=hunter2"

// directions are who serves and who dials.
var directions = []struct{ server, client kind }{{ours, upstream}, {upstream, ours}, {ours, ours}}

// TestExamplePairs runs each pair of files, ours and upstream's, with both nodes in both roles: they are connected, and
// stop in order. Rules: P-dial-1.
func TestExamplePairs(t *testing.T) {
	for _, e := range allExamples(t) {
		for _, pair := range []struct{ name, server, client string }{
			{"base", "base/server-config.yaml", "base/client-config.yaml"},
			{"tls", "tls/server-config.yaml", "tls/client-config.yaml"},
			{"mtls", "mtls/server-config.yaml", "mtls/client-config.yaml"},
			{"unix", "unix/server-config.yaml", "unix/client-config.yaml"},
			{"ws", "websocket/server-config.yaml", "websocket/client-config.yaml"},
			{"wss", "websocket/server-config-wss.yaml", "websocket/client-config-wss.yaml"},
			{"east-west", "east-west/node-east.yaml", "east-west/node-west.yaml"},
		} {
			for _, d := range directions {
				t.Run(fmt.Sprintf("%s/%s/%s dials %s", e.name, pair.name, d.client, d.server), func(t *testing.T) {
					t.Parallel()
					p := newPlace(t, e, nil)
					server := p.serve(t, d.server, pair.server)
					client := p.dials(t, d.client, pair.client, password)
					if d.server == ours {
						server.expectLine(t, "connection opened", 0)
					}
					stopInOrder(t, client, server)
				})
			}
		}
	}
}

// stopInOrder ends nodes, ours by SIGTERM. Upstream's heeds that at a moment which it does not tell, and is killed.
func stopInOrder(t *testing.T, nodes ...*process) {
	t.Helper()
	for _, n := range nodes {
		if !strings.HasPrefix(n.label, string(ours)) {
			n.kill()
			continue
		}
		n.expectLine(t, "dataplane ", 0) // a server or client started
		n.quit(t)
	}
}

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/internal/watch"
)

const (
	maxFile   = 64 << 10               // bytes of a file with a token
	lockPoll  = 100 * time.Millisecond // while another process has the lock
	lockLimit = time.Minute
	secrets   = 0o600 // the mode of files
)

// fileGrant is the grant refresh_token with the token in a file, which processes share: who has the lock reads, exchanges and
// writes, and the others find a new access token beside it (P-oidc-4).
type fileGrant struct {
	*endpoint
	client, file, cache string // cache may be empty
	s                   *Source

	// replaced and unkept are a refresh token that could not be written, and what it takes the place of.
	replaced, unkept string
	revoked          string // is not tried again
}

func newFileGrant(e *endpoint, o *SourceOptions, s *Source) (*fileGrant, error) {
	g := &fileGrant{endpoint: e, client: o.ClientID, file: o.RefreshTokenFile, cache: o.AccessTokenFile, s: s}
	if _, err := readSecret(g.file); err != nil {
		return nil, fmt.Errorf("refresh_token_file %w", err)
	}
	if t := g.cached(time.Now()); t != nil {
		s.seed(t)
	}
	return g, nil
}

func (g *fileGrant) token(ctx context.Context) (*token, error) {
	l, err := lock(ctx, g.file+".lock")
	if err != nil {
		return nil, err
	}
	defer l.unlock()
	if err := g.recover(l); err != nil {
		return nil, err
	}
	refresh, err := readSecret(g.file)
	if err != nil {
		return nil, fmt.Errorf("refresh_token_file %w", err)
	}
	if g.unkept != "" && refresh == g.replaced { // else somebody has logged in
		refresh = g.unkept
		g.keep(l, refresh)
	}
	if t := g.cached(time.Now()); t != nil && t.left() > t.life/3 { // another process has been here
		return t, nil
	}
	if refresh == g.revoked {
		return nil, fmt.Errorf("%w: log in again, and put the refresh token into %s, which is looked at every %v", errRevoked, g.file, lastRetry)
	}
	t, err := g.renew(ctx, g.client, refresh)
	if err != nil {
		if errors.Is(err, errRevoked) {
			g.revoked = refresh
		}
		return nil, err
	}
	if t.refresh != "" && t.refresh != refresh {
		if g.unkept == "" {
			g.replaced = refresh
		}
		g.keep(l, t.refresh)
	}
	if g.cache != "" {
		if err := writeSecret(g.cache, t.access); err != nil {
			g.s.log.Warn("the access token could not be kept for the next start", "path", g.cache, "error", err.Error())
		}
	}
	return t, nil
}

// keep writes a refresh token before anybody makes use of what came with it. Where that fails, it is tried again with the next
// attempt: the provider takes the one in the file no more.
func (g *fileGrant) keep(l *fileLock, refresh string) {
	g.unkept = refresh
	err := replaceSecret(g.file, refresh)
	if err != nil { // a file that is mounted alone cannot be replaced: write into it, with a copy where nobody looks
		err = errors.Join(l.note(refresh), overwriteSecret(g.file, refresh))
		if err == nil {
			err = l.note("")
		}
	}
	if err != nil {
		g.s.unkept.Add(1)
		g.s.log.Error("the new refresh token could not be written, and the one in the file is worth nothing any more: "+
			"make room or set its mode before this process ends", "path", g.file, "error", err.Error())
		return
	}
	g.unkept, g.replaced = "", ""
}

// recover writes what a process had noted that has died while it wrote.
func (g *fileGrant) recover(l *fileLock) error {
	noted, err := l.noted()
	if err != nil || noted == "" {
		return err
	}
	if err := overwriteSecret(g.file, noted); err != nil {
		return fmt.Errorf("refresh_token_file %s is to be restored from %s.lock: %w", g.file, g.file, err)
	}
	return l.note("")
}

// cached returns the access token in the file if it is within its life, which its claims tell.
func (g *fileGrant) cached(now time.Time) *token {
	if g.cache == "" {
		return nil
	}
	access, err := readSecret(g.cache)
	if err != nil || checkToken(access) != nil {
		return nil
	}
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var c struct{ Iat, Exp *int64 }
	if json.Unmarshal(b, &c) != nil || c.Iat == nil || c.Exp == nil || *c.Exp <= *c.Iat || *c.Exp-*c.Iat > int64(maxLife/time.Second) {
		return nil
	}
	left := time.Unix(*c.Exp, 0).Sub(now)
	if left <= 0 || now.Before(time.Unix(*c.Iat, 0).Add(-margin)) {
		return nil
	}
	return newToken(access, "", now, left, time.Duration(*c.Exp-*c.Iat)*time.Second)
}

// loginGrant is the grant refresh_token with what `slimctl login` has left, which is read for the first token and when that is
// worth nothing any more.
type loginGrant struct {
	refreshGrant
	file, found string // the refresh token that is in the file
}

// login is the file.
type login struct {
	RefreshToken  string `yaml:"refresh_token"`
	ClientID      string `yaml:"client_id"`
	Issuer        string `yaml:"issuer"`
	TokenEndpoint string `yaml:"token_endpoint"`
}

func newLoginGrant(e *endpoint, o *SourceOptions) (grant, error) {
	g := &loginGrant{refreshGrant: refreshGrant{endpoint: e}, file: o.Credentials}
	return g, g.read()
}

func (g *loginGrant) read() error {
	b, err := readFile(g.file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: set client_id and client_secret, or client_id and one of refresh_token_file and refresh_token, "+
			"or log in with slimctl, which would write %s", errNoProvider, g.file)
	} else if err != nil {
		return err
	}
	var l login
	if err := yaml.Unmarshal(b, &l); err != nil {
		return fmt.Errorf("%w: %s is not what slimctl login writes: log in again", errNoProvider, g.file)
	}
	switch {
	case l.RefreshToken == "":
		return fmt.Errorf("%w: %s has no refresh_token: have the provider give one (scope offline_access), and log in again", errNoProvider, g.file)
	case l.ClientID == "":
		return fmt.Errorf("%w: %s has no client_id: log in again", errNoClient, g.file)
	case g.issuer != "" && l.Issuer != g.issuer:
		return fmt.Errorf("%w: %s is of the issuer %q and issuer_url is %q: log in there", errNoProvider, g.file, short(l.Issuer), g.issuer)
	}
	if g.issuer == "" {
		if err := checkIssuer(l.Issuer); err != nil {
			return fmt.Errorf("%s: %w", g.file, err)
		}
		g.issuer = l.Issuer
	}
	g.client, g.found = l.ClientID, l.RefreshToken
	g.refresh, g.revoked = l.RefreshToken, false
	return nil
}

func (g *loginGrant) token(ctx context.Context) (*token, error) {
	if g.revoked { // somebody may have logged in again
		before := *g
		if err := g.read(); err != nil || g.found == before.found {
			*g = before
			return nil, fmt.Errorf("%w: log in again with slimctl; %s is looked at every %v", errRevoked, g.file, lastRetry)
		}
	}
	return g.refreshGrant.token(ctx)
}

func readFile(path string) ([]byte, error) {
	b, err := watch.Read(path, maxFile)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return b, err
}

// readSecret reads a file with a token, without the space around it.
func readSecret(path string) (string, error) {
	b, err := readFile(path)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("%s is empty: put a token into it", path)
	}
	return s, nil
}

// replaceSecret has a file hold a token, whole or not at all, whenever the machine stops. Links are followed.
func replaceSecret(path, s string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil { // so that the new name is on the disk, where it can be said
		_ = dir.Sync()
		dir.Close()
	}
	return nil
}

// overwriteSecret writes into a file as it is.
func overwriteSecret(path, s string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, secrets)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(secrets), fill(f, s), f.Close())
}

func writeSecret(path, s string) error {
	if replaceSecret(path, s) == nil {
		return nil
	}
	return overwriteSecret(path, s)
}

// fill has an open file hold s, and the disk know it.
func fill(f *os.File, s string) error {
	if _, err := f.WriteAt([]byte(s), 0); err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(len(s))), f.Sync())
}

// fileLock is upstream's: flock(2) on a file of its own, which stays. While a token is written into a file that cannot be
// replaced, the lock's file holds it, too.
type fileLock struct{ f *os.File }

// lock waits for a lock, for a minute at most, which is twice what others need by default.
func lock(ctx context.Context, path string) (*fileLock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, secrets)
	if err != nil {
		return nil, fmt.Errorf("the lock beside refresh_token_file: %w", err)
	}
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return &fileLock{f}, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("the lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("the lock %s is held by another process: %w", path, ctx.Err())
		case <-poll.C:
		}
	}
}

func (l *fileLock) unlock() { l.f.Close() } // ends the lock

// note has the lock's file hold a token; "": none.
func (l *fileLock) note(s string) error {
	if s != "" {
		if err := l.f.Chmod(secrets); err != nil {
			return err
		}
		s += "\n" // whole
	}
	return fill(l.f, s)
}

// noted returns the token that the lock's file holds, if it is whole.
func (l *fileLock) noted() (string, error) {
	b, err := io.ReadAll(io.NewSectionReader(l.f, 0, maxFile))
	s, whole := strings.CutSuffix(string(b), "\n")
	if !whole {
		return "", err
	}
	return s, err
}

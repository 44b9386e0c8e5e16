package mls

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// KeyPackageStore keeps the private parts of key packages from their making to their welcome. Methods may be called
// from several goroutines when groups are.
type KeyPackageStore interface {
	// Put keeps p under the reference of its key package.
	Put(ref []byte, p *PrivateKeyPackage) error
	// Get finds it; nil if it is not there.
	Get(ref []byte) (*PrivateKeyPackage, error)
	// Delete forgets it: a key package is used once. It is no error that it is not there.
	Delete(ref []byte) error
}

// PrivateKeyPackage is a key package with its private keys. It is what a store keeps; Marshal and
// ParsePrivateKeyPackage are for those that keep bytes.
type PrivateKeyPackage struct {
	Package *KeyPackage
	init    *suite.PrivateKey
	leaf    *suite.PrivateKey
	signer  *SigningKey
}

const privateKeyPackageVersion = 1

// Marshal serialises it with its private keys in clear: what is done with the bytes is the caller's care.
func (p *PrivateKeyPackage) Marshal() []byte {
	b := []byte{privateKeyPackageVersion}
	b = codec.AppendOpaque(b, p.Package.append(nil))
	b = codec.AppendOpaque(b, p.init.Bytes())
	b = codec.AppendOpaque(b, p.leaf.Bytes())
	return codec.AppendOpaque(b, p.signer.Bytes())
}

// ParsePrivateKeyPackage is the reverse of Marshal. It borrows nothing.
func ParsePrivateKeyPackage(b []byte) (*PrivateKeyPackage, error) {
	r := codec.NewReader(slices.Clone(b))
	if v := r.Uint8(); r.Err() == nil && v != privateKeyPackageVersion {
		return nil, refuse(Unsupported, "", "private key package of version %d, this is %d", v, privateKeyPackageVersion)
	}
	packed := codec.NewReader(r.Opaque())
	p := &PrivateKeyPackage{Package: readKeyPackage(packed)}
	keys := [3][]byte{r.Opaque(), r.Opaque(), r.Opaque()}
	if err := packed.Finish(); err != nil {
		return nil, malformed(err, "key package in a private key package")
	}
	if err := r.Finish(); err != nil {
		return nil, malformed(err, "private key package")
	}
	return p, p.parseKeys(keys[0], keys[1], keys[2])
}

// parseKeys sets the private keys and compares them with the public ones.
func (p *PrivateKeyPackage) parseKeys(init, leaf, signer []byte) error {
	s, ok := suite.Lookup(p.Package.CipherSuite)
	if !ok {
		return refuse(Unsupported, "10", "key package of %v", p.Package.CipherSuite)
	}
	var err error
	if p.init, err = s.ParsePrivateKey(init); err != nil {
		return refuseFor(Invalid, "10", err, "private init key")
	}
	if p.leaf, err = s.ParsePrivateKey(leaf); err != nil {
		return refuseFor(Invalid, "10", err, "private encryption key")
	}
	if p.signer, err = s.ParseSigningKey(signer); err != nil {
		return refuseFor(Invalid, "10", err, "private signature key")
	}
	if string(p.init.Public()) != string(p.Package.InitKey) || string(p.leaf.Public()) != string(p.Package.Leaf.EncryptionKey) ||
		string(p.signer.Public()) != string(p.Package.Leaf.SignatureKey) {
		return refuse(Invalid, "10", "private keys are not those of the key package")
	}
	return nil
}

// MemoryStore is a KeyPackageStore in memory. The zero value is ready; safe for concurrent use.
type MemoryStore struct {
	mu sync.Mutex
	m  map[string]*PrivateKeyPackage
}

// Put implements KeyPackageStore.
func (s *MemoryStore) Put(ref []byte, p *PrivateKeyPackage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]*PrivateKeyPackage{}
	}
	s.m[string(ref)] = p
	return nil
}

// Get implements KeyPackageStore.
func (s *MemoryStore) Get(ref []byte) (*PrivateKeyPackage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[string(ref)], nil
}

// Delete implements KeyPackageStore.
func (s *MemoryStore) Delete(ref []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, string(ref))
	return nil
}

const (
	defaultLifetime = 90 * 24 * time.Hour
	lifetimeSlack   = time.Hour // clocks differ (section 10)
)

// capabilities are the configured ones with what this package supports.
func (c *Config) capabilities(r io.Reader) (Capabilities, error) {
	caps := c.Capabilities
	// What all clients have must not be listed (section 7.2).
	caps.Extensions = slices.DeleteFunc(slices.Clone(caps.Extensions), ExtensionType.isDefault)
	caps.Proposals = slices.DeleteFunc(slices.Clone(caps.Proposals), ProposalType.isDefault)
	caps.Versions = slices.Clone(caps.Versions)
	if !slices.Contains(caps.Versions, MLS10) {
		caps.Versions = append(caps.Versions, MLS10)
	}
	if len(caps.CipherSuites) == 0 {
		caps.CipherSuites = suite.All()
	} else if !slices.Contains(caps.CipherSuites, c.CipherSuite) {
		caps.CipherSuites = append(slices.Clone(caps.CipherSuites), c.CipherSuite)
	}
	if len(caps.Credentials) == 0 {
		caps.Credentials = []CredentialType{CredentialBasic}
	}
	if !slices.Contains(caps.Credentials, c.Credential.Type) { // which a leaf must list (section 7.2)
		caps.Credentials = append(slices.Clone(caps.Credentials), c.Credential.Type)
	}
	if !c.GREASE {
		return caps, caps.check()
	}
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return caps, fmt.Errorf("mls: randomness: %w", err)
	}
	caps.CipherSuites = append(slices.Clone(caps.CipherSuites), CipherSuite(greaseValue(b[0])))
	caps.Extensions = append(slices.Clone(caps.Extensions), ExtensionType(greaseValue(b[1])))
	caps.Proposals = append(slices.Clone(caps.Proposals), ProposalType(greaseValue(b[2])))
	caps.Credentials = append(slices.Clone(caps.Credentials), CredentialType(greaseValue(b[3])))
	return caps, caps.check()
}

// grease is an extension that means nothing, if the client sends such, for lists whose readers must ignore what they do
// not know.
func (c *Config) grease() (Extensions, error) {
	if !c.GREASE {
		return nil, nil
	}
	var b [9]byte
	if _, err := io.ReadFull(c.random(), b[:]); err != nil {
		return nil, fmt.Errorf("mls: randomness: %w", err)
	}
	return Extensions{{ExtensionType(greaseValue(b[0])), b[1:]}}, nil
}

// newLeaf makes a leaf node with fresh keys for a key package, not signed yet.
func (c *Config) newLeaf(s *suite.Suite) (*LeafNode, *suite.PrivateKey, error) {
	own := c.Limits.filled().given().add("Config.Credential", c.Credential.length())
	if err := own.add("Config.Capabilities", c.Capabilities.length()).err; err != nil { // nobody would take it
		return nil, nil, err
	}
	length := c.Lifetime
	if length <= 0 {
		length = defaultLifetime
	}
	if most := c.maxLifetime(); most >= 0 && length > most-lifetimeSlack {
		return nil, nil, refuse(Misuse, "7.2", "Config.Lifetime of %v and %v before are more than MaxLifetime, %v: nobody would add the client", length, lifetimeSlack, most)
	}
	now := c.Now()
	if now.Unix() < 0 { // also of the zero time
		return nil, nil, refuse(Misuse, "7.2", "Config.Now says %v, and lifetimes begin in 1970: set the clock", now.UTC())
	}
	caps, err := c.capabilities(c.random())
	if err != nil {
		return nil, nil, err
	}
	key, err := s.GenerateKeyPair(c.random())
	if err != nil {
		return nil, nil, err
	}
	l := &LeafNode{EncryptionKey: key.Public(), SignatureKey: slices.Clone(c.Key.Public()), Credential: c.Credential, Capabilities: caps,
		Source: SourceKeyPackage, Lifetime: Lifetime{uint64(max(0, now.Add(-lifetimeSlack).Unix())), uint64(now.Add(length).Unix())}}
	return l, key, nil
}

// checkKeyPackageExtensions: the client supports what its key package carries (section 10).
func (l *LeafNode) checkKeyPackageExtensions(e Extensions) error {
	for _, x := range e {
		if !slices.Contains(l.Capabilities.Extensions, x.Type) {
			return refuse(Misuse, "10", "key package with %v, which Config.Capabilities does not list, or which belongs elsewhere", x.Type)
		}
	}
	return e.check()
}

// NewKeyPackage makes a key package for others to add this client with, and puts its private part into c.KeyPackages
// (RFC 9420, section 10).
func (c *Config) NewKeyPackage(extensions ...Extension) (*KeyPackage, error) {
	if c.KeyPackages == nil {
		return nil, refuse(Misuse, "10", "Config.KeyPackages is nil: give a store, such as &mls.MemoryStore{}")
	}
	s, err := c.suite()
	if err != nil {
		return nil, err
	}
	leaf, leafKey, err := c.newLeaf(s)
	if err != nil {
		return nil, err
	}
	p := &PrivateKeyPackage{leaf: leafKey, signer: c.Key}
	if err := p.fill(c, s, leaf, extensions); err != nil {
		p.wipe()
		return nil, err
	}
	return p.Package, nil
}

// fill makes the key package of p, which holds the private key of its leaf, and stores it.
func (p *PrivateKeyPackage) fill(c *Config, s *suite.Suite, leaf *LeafNode, extensions Extensions) (err error) {
	limits := c.Limits.filled()
	if err := limits.given().add("extensions of a key package", extensions.length()).err; err != nil {
		return err
	}
	if err := leaf.checkKeyPackageExtensions(extensions); err != nil {
		return err
	}
	if err := leaf.sign(s, c.random(), c.Key, nil, 0); err != nil {
		return err
	}
	if p.init, err = s.GenerateKeyPair(c.random()); err != nil {
		return err
	}
	p.Package = &KeyPackage{Version: MLS10, CipherSuite: c.CipherSuite, InitKey: p.init.Public(), Leaf: leaf, Extensions: extensions}
	if err := p.Package.sign(s, c.random(), c.Key); err != nil {
		return err
	}
	if err := checkMade(messageHeadSize+len(p.Package.raw), limits.Message); err != nil {
		return within(err, "key package")
	}
	ref, err := p.Package.Ref()
	if err != nil {
		return err
	}
	return c.KeyPackages.Put(ref, p)
}

// wipe wipes the HPKE keys; the signature key is the configuration's.
func (p *PrivateKeyPackage) wipe() {
	p.init.Wipe()
	p.leaf.Wipe()
}

package exactly

import (
	"encoding/binary"
	"hash"
)

// Murmur2 is the hash of Kafka's default partitioner, masked to be positive
// (org.apache.kafka.common.utils.Utils.murmur2 and toPositive): partition =
// Murmur2(key) % partitions, for every client library that follows Kafka's.
func Murmur2(key []byte) uint32 {
	const (
		seed uint32 = 0x9747b28c
		m    uint32 = 0x5bd1e995
	)
	h := seed ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key)
		k *= m
		k ^= k >> 24
		k *= m
		h = h*m ^ k
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h & 0x7fffffff
}

// Murmur2Hasher returns hashers for goka.WithHasher and goka.WithViewHasher
// that agree with Kafka's default partitioner.
func Murmur2Hasher() func() hash.Hash32 {
	return func() hash.Hash32 { return new(murmur2) }
}

// murmur2 needs the key's length before its first byte, so it gathers writes.
type murmur2 struct{ key []byte }

func (m *murmur2) Write(p []byte) (int, error) { m.key = append(m.key, p...); return len(p), nil }
func (m *murmur2) Sum32() uint32               { return Murmur2(m.key) }
func (m *murmur2) Reset()                      { m.key = m.key[:0] }
func (m *murmur2) Size() int                   { return 4 }
func (m *murmur2) BlockSize() int              { return 4 }
func (m *murmur2) Sum(b []byte) []byte         { return binary.BigEndian.AppendUint32(b, m.Sum32()) }

// partitioner returns the function key, partitions → partition for hasher, the
// same that goka computes from it.
func partitioner(hasher func() hash.Hash32) func(key []byte, n int) int32 {
	if hasher == nil {
		return func(key []byte, n int) int32 { return int32(int(Murmur2(key)) % n) }
	}
	return func(key []byte, n int) int32 {
		h := hasher()
		_, _ = h.Write(key) // hash.Hash never returns an error
		v := int32(h.Sum32())
		if v < 0 {
			v = -v
		}
		if v < 0 { // math.MinInt32 has no positive counterpart
			v = 0
		}
		return v % int32(n)
	}
}

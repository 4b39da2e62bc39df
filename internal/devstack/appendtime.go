package devstack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// appendTime gives the records of topics with message.timestamp.type
// LogAppendTime the broker's time, which kfake itself does not. The batches
// stay marked as CreateTime: a batch marked otherwise kfake stamps anew
// without a new checksum, and no client can read it.
type appendTime struct {
	cluster    *kfake.Cluster
	decompress kgo.Decompressor
	compress   map[kgo.CompressionCodecType]kgo.Compressor
}

// Where the fields of a batch are.
const (
	batchChecksum   = 17
	batchAttributes = 21
	batchFirstTime  = 27
	batchMaxTime    = 35
	batchCount      = 57
	batchRecords    = 61

	batchCodec = 0x7
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stampAppendTime has a cluster honour LogAppendTime.
func stampAppendTime(cluster *kfake.Cluster) error {
	a := &appendTime{cluster: cluster, decompress: kgo.DefaultDecompressor(), compress: map[kgo.CompressionCodecType]kgo.Compressor{}}
	for codec, compression := range map[kgo.CompressionCodecType]kgo.CompressionCodec{
		kgo.CodecGzip: kgo.GzipCompression(), kgo.CodecSnappy: kgo.SnappyCompression(),
		kgo.CodecLz4: kgo.Lz4Compression(), kgo.CodecZstd: kgo.ZstdCompression(),
	} {
		compressor, err := kgo.DefaultCompressor(compression)
		if err != nil {
			return fmt.Errorf("devstack: make a compressor: %w", err)
		}
		a.compress[codec] = compressor
	}
	cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if produce, ok := request.(*kmsg.ProduceRequest); ok {
			a.stamp(produce, time.Now())
		}
		return nil, nil, false
	})
	return nil
}

// stamp rewrites the batches of a request that need it.
func (a *appendTime) stamp(request *kmsg.ProduceRequest, now time.Time) {
	for _, topic := range request.Topics {
		var info *kfake.TopicInfo
		if topic.Topic == "" {
			info = a.cluster.TopicIDInfo(topic.TopicID)
		} else {
			info = a.cluster.TopicInfo(topic.Topic)
		}
		if info == nil {
			continue
		}
		if kind := info.Configs["message.timestamp.type"]; kind == nil || *kind != "LogAppendTime" {
			continue
		}
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			p.Records = a.batch(p.Records, now)
		}
	}
}

// batch stamps one batch; kfake judges those that are broken.
func (a *appendTime) batch(batch []byte, now time.Time) []byte {
	if len(batch) < batchRecords ||
		binary.BigEndian.Uint32(batch[batchChecksum:]) != crc32.Checksum(batch[batchAttributes:], castagnoli) {
		return batch
	}
	// The one record of a batch has the time of the batch already.
	if binary.BigEndian.Uint32(batch[batchCount:]) > 1 {
		records, ok := a.level(batch)
		if !ok {
			return batch
		}
		batch = append(bytes.Clone(batch[:batchRecords]), records...)
		binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
	}
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint64(batch[batchFirstTime:], ms)
	binary.BigEndian.PutUint64(batch[batchMaxTime:], ms)
	binary.BigEndian.PutUint32(batch[batchChecksum:], crc32.Checksum(batch[batchAttributes:], castagnoli))
	return batch
}

// level returns the records of a batch, all with the time of the batch.
func (a *appendTime) level(batch []byte) (records []byte, ok bool) {
	codec := kgo.CompressionCodecType(binary.BigEndian.Uint16(batch[batchAttributes:]) & batchCodec)
	plain, err := a.decompress.Decompress(batch[batchRecords:], codec)
	if err != nil {
		return nil, false
	}
	out := make([]byte, 0, len(plain))
	for range binary.BigEndian.Uint32(batch[batchCount:]) {
		length, n := kbin.Varint(plain)
		if n <= 0 || length < 2 || int(length) > len(plain)-n {
			return nil, false
		}
		record := plain[n : n+int(length)]
		plain = plain[n+int(length):]
		_, delta := kbin.Varlong(record[1:])
		if delta <= 0 {
			return nil, false
		}
		rest := record[1+delta:]
		out = kbin.AppendVarint(out, int32(2+len(rest)))
		out = append(out, record[0], 0)
		out = append(out, rest...)
	}
	if compressor := a.compress[codec]; compressor != nil {
		out, _ = compressor.Compress(new(bytes.Buffer), out)
	}
	return out, true
}

"""The partitioners, held against Kafka's own test vectors and against librdkafka's published ones."""

import zlib

import pytest

from operators.partitioner import crc32, murmur2

# Apache Kafka, clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2.
KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "hashed"), KAFKA.items())
@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 4096, 2**31])
def test_a_key_goes_where_kafkas_own_hash_says(key, hashed, partitions):
    assert murmur2([key], partitions).tolist() == [(hashed & 0x7FFFFFFF) % partitions]


def test_keys_are_hashed_each_for_itself():
    keys = list(KAFKA)

    assert murmur2(keys, 2**31).tolist() == [hashed & 0x7FFFFFFF for hashed in KAFKA.values()]


def test_no_keys_have_no_partitions():
    assert murmur2([], 4).tolist() == crc32([], 4).tolist() == []


def test_crc32_is_the_one_that_everybody_knows():
    assert crc32([b"123456789"], 2**33).tolist() == [0xCBF43926]  # the check value of CRC-32/ISO-HDLC
    assert crc32([b"ada"], 5).tolist() == [zlib.crc32(b"ada") % 5]

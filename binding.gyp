{
  "targets": [
    {
      "target_name": "uoa_io",
      "sources": ["native/io.c"],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE"],
      "cflags": ["-std=c11", "-O2", "-Wall", "-Wextra"]
    }
  ]
}

# What a machine does at its first start, as cloud-init reads it. No provider is needed, so terraform test runs offline.

terraform {
  required_version = ">= 1.9"
}

locals {
  # the number at the end of a GPU shape's name is that of its GPUs
  gpus = can(regex("^(VM|BM)\\.GPU.*\\.[0-9]+$", var.shape)) ? tonumber(regex("[0-9]+$", var.shape)) : 0

  devices = join(",", range(local.gpus))
  workers = max(local.gpus, 1)
  where   = local.gpus > 0 ? "--devices ${local.devices}" : "--workers ${local.workers}"
  command = {
    head   = "serve sqlite:////var/lib/phyletic/studies.db --host 0.0.0.0 --tls-certificate /etc/phyletic/server.crt --tls-key /etc/phyletic/server.key"
    worker = var.role == "worker" ? "worker ${local.where} grpcs://${var.server}:7070 ${var.study} ${var.train}" : ""
    alone  = var.role == "alone" ? "run ${local.where} ${var.study} ${var.train}" : ""
  }[var.role]

  cloud_init = templatefile("${path.module}/cloud-init.yaml.tftpl", {
    role     = var.role
    command  = local.command
    gpus     = local.gpus
    driver   = var.driver
    packages = concat(var.torch == null ? [] : ["torch==${var.torch}"], var.packages)
    torch    = var.torch != null
    code     = var.code
    server   = var.server
    bucket   = var.bucket
  })
}

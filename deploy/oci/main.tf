# A head that serves studies, preemptible machines that train for it, and the bucket and role through which they meet.
#
#   terraform init && terraform apply -var-file=mine.tfvars
#
# docs/clusters.md goes through it. No secret is in this plan, its state, or a machine's metadata: the head makes its
# key, its certificate and the workers' token, and puts the latter two into the bucket.

terraform {
  required_version = ">= 1.9"
  required_providers {
    oci = {
      source  = "oracle/oci"
      version = ">= 6.0"
    }
  }
}

provider "oci" {
  region = var.region
}

locals {
  head   = "head"
  subnet = "workers"
  server = "${local.head}.${local.subnet}.${var.name}.oraclevcn.com"
  code   = { for file in fileset(var.code, "**") : file => filebase64("${var.code}/${file}") }
}

data "oci_identity_availability_domain" "here" {
  compartment_id = var.tenancy_ocid
  ad_number      = var.availability_domain
}

data "oci_core_images" "ubuntu" {
  for_each                 = toset([var.head_shape, var.worker_shape])
  compartment_id           = var.compartment_ocid
  operating_system         = "Canonical Ubuntu"
  operating_system_version = "24.04"
  shape                    = each.value
  sort_by                  = "TIMECREATED"
  sort_order               = "DESC"
}

module "head" {
  source   = "./modules/bootstrap"
  role     = "head"
  shape    = var.head_shape
  packages = var.packages
  server   = local.server
  bucket   = oci_objectstorage_bucket.shared.name
}

module "worker" {
  source   = "./modules/bootstrap"
  role     = "worker"
  shape    = var.worker_shape
  packages = var.packages
  torch    = var.torch
  driver   = var.driver
  code     = local.code
  study    = var.study
  train    = var.train
  server   = local.server
  bucket   = oci_objectstorage_bucket.shared.name
}

resource "oci_core_instance" "head" {
  compartment_id       = var.compartment_ocid
  availability_domain  = data.oci_identity_availability_domain.here.name
  display_name         = "${var.name}-head"
  shape                = var.head_shape
  preserve_boot_volume = true # it holds the studies

  dynamic "shape_config" {
    for_each = endswith(var.head_shape, ".Flex") ? [var.flexible] : []
    content {
      ocpus         = shape_config.value.ocpus
      memory_in_gbs = shape_config.value.memory_in_gbs
    }
  }

  source_details {
    source_type = "image"
    source_id   = data.oci_core_images.ubuntu[var.head_shape].images[0].id
  }

  create_vnic_details {
    subnet_id        = oci_core_subnet.workers.id
    hostname_label   = local.head
    assign_public_ip = true
  }

  metadata = {
    ssh_authorized_keys = var.ssh_public_key
    user_data           = module.head.user_data
  }

  lifecycle {
    # a newer image is no reason to make a new head
    ignore_changes = [source_details, metadata]
  }
}

# Oracle's instance pools take no preemptible capacity, so the pool is a number of machines.
resource "oci_core_instance" "worker" {
  count               = var.workers
  compartment_id      = var.compartment_ocid
  availability_domain = data.oci_identity_availability_domain.here.name
  display_name        = "${var.name}-worker-${count.index}"
  shape               = var.worker_shape

  dynamic "shape_config" {
    for_each = endswith(var.worker_shape, ".Flex") ? [var.flexible] : []
    content {
      ocpus         = shape_config.value.ocpus
      memory_in_gbs = shape_config.value.memory_in_gbs
    }
  }

  preemptible_instance_config {
    preemption_action {
      type                 = "TERMINATE"
      preserve_boot_volume = false
    }
  }

  source_details {
    source_type             = "image"
    source_id               = data.oci_core_images.ubuntu[var.worker_shape].images[0].id
    boot_volume_size_in_gbs = 100 # torch with CUDA needs some ten of them
  }

  create_vnic_details {
    subnet_id        = oci_core_subnet.workers.id
    assign_public_ip = true # for pip; nothing but ssh can come in
  }

  metadata = {
    ssh_authorized_keys = var.ssh_public_key
    user_data           = module.worker.user_data
  }
}

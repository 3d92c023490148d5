# One machine with a GPU that runs a study by itself: phyletic run MODULE:STUDY MODULE:FUNCTION.
#
#   terraform init && terraform apply -var-file=mine.tfvars
#
# The study's database and its checkpoints are where the study says, under /var/lib/phyletic/work on the boot volume,
# which outlives the machine. docs/clusters.md goes through it.

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

data "oci_core_subnet" "given" {
  subnet_id = var.subnet_ocid
}

data "oci_identity_availability_domain" "here" {
  compartment_id = var.tenancy_ocid
  ad_number      = var.availability_domain
}

data "oci_core_images" "ubuntu" {
  compartment_id           = data.oci_core_subnet.given.compartment_id
  operating_system         = "Canonical Ubuntu"
  operating_system_version = "24.04"
  shape                    = var.shape
  sort_by                  = "TIMECREATED"
  sort_order               = "DESC"
}

module "bootstrap" {
  source   = "../oci/modules/bootstrap"
  role     = "alone"
  shape    = var.shape
  packages = var.packages
  torch    = var.torch
  driver   = var.driver
  code     = { for file in fileset(var.code, "**") : file => filebase64("${var.code}/${file}") }
  study    = var.study
  train    = var.train
}

resource "oci_core_instance" "this" {
  compartment_id       = data.oci_core_subnet.given.compartment_id
  availability_domain  = data.oci_identity_availability_domain.here.name
  display_name         = "phyletic"
  shape                = var.shape
  preserve_boot_volume = true # it holds the study

  source_details {
    source_type             = "image"
    source_id               = data.oci_core_images.ubuntu.images[0].id
    boot_volume_size_in_gbs = 200
  }

  create_vnic_details {
    subnet_id        = data.oci_core_subnet.given.id
    assign_public_ip = !data.oci_core_subnet.given.prohibit_public_ip_on_vnic
  }

  metadata = {
    ssh_authorized_keys = var.ssh_public_key
    user_data           = module.bootstrap.user_data
  }
}

output "address" {
  description = "The machine's address: ssh ubuntu@ADDRESS journalctl -fu phyletic follows the run."
  value       = coalesce(oci_core_instance.this.public_ip, oci_core_instance.this.private_ip)
}
